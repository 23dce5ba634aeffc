import type { Graph } from '@gatehouse/contracts/orchestration';
import type { GraphDocumentReader } from './graph/document.ts';
import type { Plan } from './graph/plan.ts';
import { type Violation, validateGraph } from './graph/validation.ts';

/** The graphs that a server has, by name, in the order of their names. */
export type GraphLibrary = ReadonlyMap<string, { readonly graph: Graph; readonly plan: Plan }>;

export type ReadLibrary =
  | { readonly ok: true; readonly library: GraphLibrary }
  | { readonly ok: false; readonly problems: readonly string[] };

/**
 * Reads and validates graph files. A file is named after its graph: `answer-from-passages.yaml`.
 * @param files text by file name
 * @returns the library, or every problem of every file, as `FILE: PATH: DESCRIPTION`
 */
export function readLibrary(files: ReadonlyMap<string, string>, read: GraphDocumentReader): ReadLibrary {
  const library = new Map<string, { graph: Graph; plan: Plan }>();
  const problems: string[] = [];
  for (const fileName of [...files.keys()].sort()) {
    const report = (violations: readonly Violation[]): void => {
      for (const { path, description } of violations) {
        problems.push([fileName, path, description].filter((part) => part !== '').join(': '));
      }
    };
    const document = read(files.get(fileName) ?? '');
    if (!document.ok) {
      report(document.violations);
      continue;
    }
    const { graph } = document;
    if (`${graph.name}.yaml` !== fileName) {
      report([{ path: 'name', description: `is "${graph.name}"; a file is named after its graph` }]);
    }
    const validated = validateGraph(graph);
    if (validated.ok) library.set(graph.name, { graph, plan: validated.plan });
    else report(validated.violations);
  }
  return problems.length > 0 ? { ok: false, problems } : { ok: true, library };
}
