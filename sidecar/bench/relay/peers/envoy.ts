import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { stringify } from 'yaml';
import type { Candidate, Ground } from './candidate.ts';
import { versionFrom } from './run-program.ts';

const TYPE = 'type.googleapis.com/envoy';

/** mTLS, the caller's SPIFFE ID checked by the RBAC filter and forwarded, h2c to the app, one worker, no access log. */
export function envoy(program: string): Candidate {
  return {
    name: 'Envoy',
    version: () => versionFrom(program, ['--version'], /version: [0-9a-f]+\/([^/\s]+)/),
    prepare: async (ground, port) => {
      const file = join(ground.folder, 'envoy.yaml');
      await writeFile(file, stringify(config(ground, port)));
      const args = ['-c', file, '--concurrency', '1', '--disable-hot-restart', '--log-level', 'error'];
      return { command: program, args };
    },
  };
}

function config(ground: Ground, port: number): object {
  return {
    admin: { address: address(0) },
    static_resources: {
      listeners: [
        {
          name: 'inbound',
          address: address(port),
          filter_chains: [{ transport_socket: downstreamTls(ground), filters: [connectionManager(ground)] }],
        },
      ],
      clusters: [appCluster(ground)],
    },
  };
}

function address(port: number): object {
  return { socket_address: { address: '127.0.0.1', port_value: port } };
}

function downstreamTls({ certificateFile, keyFile, bundleFile }: Ground): object {
  return {
    name: 'tls',
    typed_config: {
      '@type': `${TYPE}.extensions.transport_sockets.tls.v3.DownstreamTlsContext`,
      require_client_certificate: true,
      common_tls_context: {
        alpn_protocols: ['h2'],
        tls_params: { tls_minimum_protocol_version: 'TLSv1_3', tls_maximum_protocol_version: 'TLSv1_3' },
        tls_certificates: [
          { certificate_chain: { filename: certificateFile }, private_key: { filename: keyFile } },
        ],
        validation_context: { trusted_ca: { filename: bundleFile } },
      },
    },
  };
}

function connectionManager(ground: Ground): object {
  const principal = { authenticated: { principal_name: { exact: ground.callerSpiffeId } } };
  return {
    name: 'http',
    typed_config: {
      '@type': `${TYPE}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager`,
      stat_prefix: 'inbound',
      codec_type: 'HTTP2',
      http2_protocol_options: { max_concurrent_streams: 1024 },
      forward_client_cert_details: 'SANITIZE_SET',
      set_current_client_cert_details: { uri: true },
      generate_request_id: false,
      stream_idle_timeout: '0s',
      route_config: {
        virtual_hosts: [
          {
            name: 'app',
            domains: ['*'],
            routes: [{ match: { prefix: '/' }, route: { cluster: 'app', timeout: '0s' } }],
          },
        ],
      },
      http_filters: [
        {
          name: 'rbac',
          typed_config: {
            '@type': `${TYPE}.extensions.filters.http.rbac.v3.RBAC`,
            rules: {
              action: 'ALLOW',
              policies: { caller: { permissions: [{ any: true }], principals: [principal] } },
            },
          },
        },
        { name: 'router', typed_config: { '@type': `${TYPE}.extensions.filters.http.router.v3.Router` } },
      ],
    },
  };
}

function appCluster({ appPort }: Ground): object {
  return {
    name: 'app',
    type: 'STATIC',
    connect_timeout: '5s',
    circuit_breakers: { thresholds: [{ max_requests: 8192, max_pending_requests: 8192 }] },
    typed_extension_protocol_options: {
      'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
        '@type': `${TYPE}.extensions.upstreams.http.v3.HttpProtocolOptions`,
        explicit_http_config: { http2_protocol_options: {} },
      },
    },
    load_assignment: {
      cluster_name: 'app',
      endpoints: [{ lb_endpoints: [{ endpoint: { address: address(appPort) } }] }],
    },
  };
}
