/** Nodes of one graph in all, those inside other nodes included. */
export const graphNodesMax = 256;

/** How deep nodes may stand inside nodes; a node of the graph itself has depth 1. */
export const graphDepthMax = 8;
