# The app for CPUs, without root. TORCH_CPU_INDEX is the package index that pytorch.org's "Get started" page names for CPUs:
#   docker build --build-arg TORCH_CPU_INDEX=… -t latent-explorer . && docker run --rm -p 7860:7860 latent-explorer
FROM python:3.11-slim
ARG TORCH_CPU_INDEX
RUN useradd --create-home --uid 1000 explorer
WORKDIR /app
COPY requirements.lock .
# What only compiles and tests other programs is a fifth of it.
RUN pip install --no-cache-dir --no-compile --require-hashes -r requirements.lock \
    --extra-index-url "${TORCH_CPU_INDEX:?name it by --build-arg}" \
    && cd /usr/local/lib/python3.11/site-packages \
    && rm -r torch/include torch/test && find torch/bin -type f ! -name torch_shm_manager -delete \
    && find . -type d -name tests -prune -exec rm -r {} +
COPY README.md LICENSE app.py ./
COPY explorer explorer
COPY checkpoints checkpoints
USER explorer
# Numba keeps what it compiles where a container may write.
ENV NUMBA_CACHE_DIR=/tmp/numba
ENV GRADIO_SERVER_NAME=0.0.0.0 GRADIO_SERVER_PORT=7860 PYTHONUNBUFFERED=1
EXPOSE 7860
HEALTHCHECK --start-period=60s CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:7860/config', timeout=9)"]
CMD ["python", "app.py"]
