"""Figures with their baselines, measured side by side: `python -m benchmarks [name ...]`. See docs/benchmarks.md."""
