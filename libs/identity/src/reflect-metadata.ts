/**
 * The three functions of the reflect-metadata proposal that the dependency container inside @peculiar/x509 asks
 * for while it is imported. It has nothing to inject there, so plain storage per target is all it takes.
 */
type Metadata = {
  getMetadata?: (key: unknown, target: object) => unknown;
  getOwnMetadata?: (key: unknown, target: object) => unknown;
  defineMetadata?: (key: unknown, value: unknown, target: object) => void;
};

const stored = new WeakMap<object, Map<unknown, unknown>>();
const reflect: typeof Reflect & Metadata = Reflect;

function getOwn(key: unknown, target: object): unknown {
  return stored.get(target)?.get(key);
}

reflect.getOwnMetadata ??= getOwn;
reflect.getMetadata ??= getOwn;
reflect.defineMetadata ??= (key, value, target) => {
  const entries = stored.get(target) ?? new Map<unknown, unknown>();
  stored.set(target, entries.set(key, value));
};
