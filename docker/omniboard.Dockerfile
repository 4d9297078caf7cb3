# Omniboard, which shows runs in MongoDB, from its npm package. It listens on every address: publish its port on
# loopback only, as docker/compose.yaml does.
ARG BASE_IMAGE=node:20-bookworm-slim

FROM ${BASE_IMAGE}
ENV NODE_ENV=production PORT=9000
WORKDIR /omniboard
# its scripts would build what the package holds already
RUN npm install --ignore-scripts --no-fund --no-audit omniboard@2.16.1 && npm cache clean --force
USER 1000:1000
EXPOSE 9000
CMD ["node", "node_modules/omniboard/dist/start.js"]
