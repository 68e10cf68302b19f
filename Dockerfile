# One image for migrate, ingest, worker and serve.
FROM python:3.11-slim-trixie AS build
WORKDIR /src
COPY requirements-bootstrap.lock requirements.lock ./
RUN python -m venv /opt/groundwatch \
 && /opt/groundwatch/bin/pip install --no-cache-dir --require-hashes -r requirements-bootstrap.lock \
 && /opt/groundwatch/bin/uv pip install --python /opt/groundwatch/bin/python --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY domain domain
COPY ingest ingest
COPY analytics analytics
COPY alerts alerts
COPY storage storage
COPY service service
RUN /opt/groundwatch/bin/uv pip install --python /opt/groundwatch/bin/python --no-deps .

FROM python:3.11-slim-trixie
RUN useradd --system --uid 10001 --home-dir /var/lib/groundwatch --create-home groundwatch \
 && install -d -o groundwatch -g groundwatch /broker-accounts
COPY --from=build /opt/groundwatch /opt/groundwatch
COPY deploy/examples /etc/groundwatch/examples
# The demonstration network reads its city beside the packages, as in a checkout.
RUN mkdir /opt/groundwatch/lib/python3.11/site-packages/deploy \
 && ln -s /etc/groundwatch/examples /opt/groundwatch/lib/python3.11/site-packages/deploy/examples
ENV PATH=/opt/groundwatch/bin:$PATH GROUNDWATCH_HOME=/var/lib/groundwatch GROUNDWATCH_HOST=0.0.0.0 PYTHONUNBUFFERED=1
USER groundwatch
VOLUME ["/var/lib/groundwatch", "/broker-accounts"]
EXPOSE 8000
ENTRYPOINT ["groundwatch"]
CMD ["serve"]
