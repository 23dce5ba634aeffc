import { CONTEXT_CHARACTERS } from './detector.ts';

/** The text right before `at`, as far as a detector may look back. */
export function contextBefore(text: string, at: number): string {
  return text.slice(Math.max(0, at - CONTEXT_CHARACTERS), at);
}
