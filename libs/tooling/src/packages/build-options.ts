export type BuildOptions = {
  /** Of the checkout. */
  readonly root: string;
  /** The folder for what is built. */
  readonly out: string;
  readonly env: Readonly<Record<string, string | undefined>>;
};
