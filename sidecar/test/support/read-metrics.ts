const NAME = '[a-zA-Z_:][a-zA-Z0-9_:]*';
const HELP = new RegExp(`^# HELP (${NAME}) .+$`);
const TYPE = new RegExp(`^# TYPE (${NAME}) (counter|gauge|histogram)$`);
const SAMPLE = new RegExp(`^(${NAME})(?:\\{(.*)\\})? (-?\\d[\\d.e+-]*|\\+Inf|NaN)$`);
const LABEL = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)/gy;

type Labels = Readonly<Record<string, string>>;
type Sample = { readonly name: string; readonly labels: Labels; readonly value: number };

export type Metrics = {
  readonly types: ReadonlyMap<string, string>;
  readonly samples: readonly Sample[];
  /** The one sample of this name that has these labels among its own. */
  value(name: string, labels: Labels): number;
};

/**
 * Reads Prometheus' text format 0.0.4, strictly: HELP and TYPE before the samples, no sample twice, buckets that grow.
 * @throws Error on the first line that breaks it
 */
export function readMetrics(text: string): Metrics {
  if (!text.endsWith('\n')) throw new Error('the last line has no line feed');
  const types = new Map<string, string>();
  const helps = new Set<string>();
  const samples: Sample[] = [];
  const seen = new Set<string>();
  for (const line of text.split('\n').filter((each) => each !== '')) {
    const [, helped] = HELP.exec(line) ?? [];
    const [, typed, type] = TYPE.exec(line) ?? [];
    if (helped !== undefined) helps.add(helped);
    else if (typed !== undefined) types.set(typed, type ?? '');
    else samples.push(readSample(line, types, helps, seen));
  }
  checkBuckets(samples);
  return { types, samples, value: (name, labels) => valueOf(samples, name, labels) };
}

function readSample(line: string, types: Map<string, string>, helps: Set<string>, seen: Set<string>): Sample {
  const [, name = '', labelText = '', value = ''] = SAMPLE.exec(line) ?? [];
  const family = types.has(name) ? name : name.replace(/_(bucket|sum|count)$/, '');
  if (name === '' || !types.has(family) || !helps.has(family))
    throw new Error(`no sample of a known metric: ${line}`);
  const key = line.slice(0, line.lastIndexOf(' '));
  if (seen.has(key)) throw new Error(`a sample twice: ${key}`);
  seen.add(key);
  return {
    name,
    labels: readLabels(labelText, line),
    value: value === '+Inf' ? Number.POSITIVE_INFINITY : Number(value),
  };
}

function readLabels(text: string, line: string): Labels {
  const labels: Record<string, string> = {};
  LABEL.lastIndex = 0;
  let end = 0;
  for (let match = LABEL.exec(text); match !== null; match = LABEL.exec(text)) {
    labels[match[1] ?? ''] = match[2] ?? '';
    end = LABEL.lastIndex;
  }
  if (end !== text.length) throw new Error(`labels that cannot be read: ${line}`);
  return labels;
}

function checkBuckets(samples: readonly Sample[]): void {
  const last = new Map<string, { le: number; value: number }>();
  for (const { name, labels, value } of samples.filter((each) => each.name.endsWith('_bucket'))) {
    const { le = '', ...others } = labels;
    const series = name + JSON.stringify(others);
    const bound = le === '+Inf' ? Number.POSITIVE_INFINITY : Number(le);
    const before = last.get(series) ?? { le: Number.NEGATIVE_INFINITY, value: 0 };
    if (!(bound > before.le) || value < before.value) throw new Error(`buckets that shrink: ${series} ${le}`);
    last.set(series, { le: bound, value });
  }
  for (const [series, { le }] of last)
    if (le !== Number.POSITIVE_INFINITY) throw new Error(`no +Inf: ${series}`);
}

function valueOf(samples: readonly Sample[], name: string, labels: Labels): number {
  const found = samples.filter(
    (each) =>
      each.name === name && Object.entries(labels).every(([key, value]) => each.labels[key] === value),
  );
  if (found.length !== 1) throw new Error(`${found.length} samples of ${name} ${JSON.stringify(labels)}`);
  return found[0]?.value ?? Number.NaN;
}
