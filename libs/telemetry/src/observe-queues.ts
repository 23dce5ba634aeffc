import { metrics } from '@opentelemetry/api';
import { ATTRIBUTES, METRICS } from './names.ts';

/** What a model has to do at this moment. */
export type ModelLoad = {
  /** As callers name it. */
  readonly model: string;
  /** What waits for the model, in the service's own unit: calls, or texts. */
  readonly waiting: number;
  /** What the model works on. */
  readonly running: number;
};

/** Lets metrics show the queues of a service's models, which are looked at when the metrics are read. */
export function observeQueues(serviceName: string, loads: () => Iterable<ModelLoad>): void {
  const meter = metrics.getMeter(serviceName);
  const gauge = (name: string, description: string, value: (load: ModelLoad) => number) =>
    meter.createObservableGauge(name, { description }).addCallback((result) => {
      for (const load of loads()) result.observe(value(load), { [ATTRIBUTES.genAiRequestModel]: load.model });
    });
  gauge(METRICS.modelQueueDepth, 'What waits for the model.', ({ waiting }) => waiting);
  gauge(METRICS.modelCallsRunning, 'What the model works on.', ({ running }) => running);
}
