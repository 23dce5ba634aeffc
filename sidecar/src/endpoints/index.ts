/** Where upstreams are: the folder's one public face. */
export { type EndpointSourceView, type FollowedEndpoints, followEndpoints } from './follow-endpoints.ts';
