import { join } from 'node:path';
import { ensureModuleFiles, type ModuleFiles } from './ensure-module-files.ts';
import type { EnsureToolOptions } from './ensure-tool.ts';

/** The API server's own description of its API, as it stands in Kubernetes' sources. */
const SCHEMAS: ModuleFiles = {
  name: 'kubernetes-schemas',
  title: 'the schemas of Kubernetes 1.35',
  modules: {
    'k8s.io/kubernetes@v1.35.0': {
      'api/openapi-spec/swagger.json': '483500149ee52ce5753d75f5639101d985bb4f5e902cc05b1ba7627465d62446',
    },
  },
};

/** What others bring to a cluster and the chart uses, as they define it. */
const CUSTOM_RESOURCES: ModuleFiles = {
  name: 'custom-resources',
  title: 'the resources of cert-manager, Prometheus Operator and KEDA',
  modules: {
    'github.com/cert-manager/cert-manager@v1.21.2': {
      'deploy/crds/cert-manager.io_certificates.yaml':
        '7ad91029c00ec959d54215b19d3b1a9b7e0247eaa60f987151c2b70d8661f8af',
    },
    'github.com/prometheus-operator/prometheus-operator@v0.85.0': {
      'example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml':
        '8ce88c52c51209993511cae093089c9525f5552def88119e3f559123ee9d454b',
      'example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml':
        '98fd16c9ab79fba8dcd6ef62c957c98cd6546ab74ce0a4ecf09ddf2fda03020e',
    },
    'github.com/kedacore/keda/v2@v2.21.0': {
      'config/crd/bases/keda.sh_scaledobjects.yaml':
        'af35555862a83933b074af14ad439c4b4ceabaf4daa3e9338e9b23e36d308d80',
    },
  },
};

/**
 * Makes sure that the schemas of Kubernetes are in the tools folder (a download of 35 MB the first time).
 * @returns the path of the OpenAPI 2.0 document
 * @throws ToolUnavailable
 */
export async function ensureKubernetesSchemas(options: EnsureToolOptions): Promise<string> {
  return join(await ensureModuleFiles(SCHEMAS, options), 'swagger.json');
}

/**
 * Makes sure that the definitions of the custom resources are in the tools folder (a download of 11 MB the first time).
 * @returns the folder with a YAML file for each
 * @throws ToolUnavailable
 */
export async function ensureCustomResources(options: EnsureToolOptions): Promise<string> {
  return ensureModuleFiles(CUSTOM_RESOURCES, options);
}
