"""What tests of several folders share: builders of values, servers and processes. Nothing in here is a test."""
