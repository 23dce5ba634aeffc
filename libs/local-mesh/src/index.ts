export { type CallFailure, readCallFailure } from './call-failure.ts';
export { drawTrace } from './draw-trace.ts';
export { type JaegerTrace, queryJaeger } from './jaeger-trace.ts';
export { type LocalMesh, type LocalMeshOptions, startLocalMesh } from './local-mesh.ts';
export {
  type CallExtras,
  connectToMesh,
  connectToSocket,
  isServiceError,
  type MeshClient,
} from './mesh-client.ts';
export { CALLERS, type CallerName, SERVICES, type ServiceName, spiffeIdOf } from './mesh-layout.ts';
export { MeshStartError } from './mesh-start-error.ts';
export { type MeshState, readMeshState } from './mesh-state.ts';
export { receiveTraces, type TraceReceiver } from './otlp-receiver.ts';
export { createScreen, formatMs, type Screen, type ScreenOutput } from './screen.ts';
export { showFailure } from './show-failure.ts';
export { showTrace } from './show-trace.ts';
export { runTour } from './tour/tour.ts';
export type { TourContext } from './tour/tour-context.ts';
export { createTourTrace, type TourTrace } from './tour/tour-trace.ts';
