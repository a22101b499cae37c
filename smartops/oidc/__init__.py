"""Sign-in by an OpenID provider. Its modules import allauth, which the extra `oidc` installs: docs/sign-in.md."""
