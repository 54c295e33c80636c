# The service, run by an unprivileged user.
#
#     docker build -t ddfm .                                # for CPUs
#     docker build -t ddfm --build-arg TORCH=cu128 .        # for NVIDIA GPUs; several gigabytes
#     docker run --read-only --tmpfs /tmp -p 127.0.0.1:8000:8000 ddfm
#     docker run --gpus all -p 127.0.0.1:8000:8000 ddfm
#
# There is no password: anyone who can reach the port can use the service.
ARG PYTHON=3.13
FROM python:${PYTHON}-slim

ARG TORCH=cpu
RUN pip install --no-cache-dir torch --index-url "https://download.pytorch.org/whl/${TORCH}"

WORKDIR /source
COPY setup.cfg setup.py pyproject.toml README.md LICENSE ./
COPY ddfm ddfm
COPY pretrained pretrained
RUN pip install --no-cache-dir '.[serve,medical,thermal]' && rm -rf /source \
    && useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin ddfm

USER 10001:10001
WORKDIR /tmp
ENV PYTHONDONTWRITEBYTECODE=1
EXPOSE 8000
HEALTHCHECK --start-period=60s CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz')"]
ENTRYPOINT ["ddfm"]
CMD ["serve", "--host", "0.0.0.0"]
