import { trace } from '@opentelemetry/api';

/**
 * To be asked for while a call's handler begins. The gRPC instrumentation ends a server's span with the answer, and a call that
 * is cancelled has none: without this its span would be lost, and the spans below it without a parent.
 * @returns what ends the span of a call that was cancelled, with its gRPC status
 */
export function whenCancelled(): (code: number) => void {
  const span = trace.getActiveSpan();
  return (code) => {
    span?.setAttribute('rpc.grpc.status_code', code);
    span?.end();
  };
}
