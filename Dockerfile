FROM python:3.13-slim AS build
# Extras of pyproject.toml, separated by spaces: `oidc`, for sign-in by an OpenID provider.
ARG EXTRAS=""
WORKDIR /app
# Dependencies first: they change less often than the code.
COPY pyproject.toml constraints.txt ./
RUN python -m venv --without-pip /venv \
 && python -c 'import sys, tomllib; project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
    print(*project["dependencies"], *sum(map(project["optional-dependencies"].get, sys.argv[1:]), []), sep="\n")' \
    $EXTRAS > requirements.txt \
 && pip --python /venv/bin/python install --no-cache-dir --only-binary :all: -c constraints.txt -r requirements.txt
COPY manage.py ./
COPY signals signals
COPY guardrails guardrails
COPY orchestrator orchestrator
COPY smartops smartops
COPY templates templates
COPY docs/reasons.md docs/reasons.md
ENV PATH=/venv/bin:$PATH SMARTOPS_STATIC_ROOT=/app/static
RUN python manage.py collectstatic --no-input \
 && python -m compileall -q .

FROM python:3.13-slim
RUN pip uninstall --yes --root-user-action=ignore pip
COPY --from=build /venv /venv
COPY --from=build /app /app
WORKDIR /app
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 SMARTOPS_STATIC_ROOT=/app/static
USER 10001:10001
EXPOSE 8000 9090
CMD ["python", "manage.py", "serve", "--port", "8000"]
