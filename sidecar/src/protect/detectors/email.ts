import { type Detector, MORE, NONE } from './detector.ts';
import { startsOf } from './starts.ts';

/** RFC 5321 §4.5.3.1: 64 characters before the @, 255 after it. */
const LOCAL_MAX = 64;
const DOMAIN_MAX = 255;

const LOCAL = /[A-Za-z0-9._%+\-]/;
const DOMAIN = /[A-Za-z0-9.\-]/;

export const email: Detector = {
  name: 'EMAIL',
  charactersMax: LOCAL_MAX + 1 + DOMAIN_MAX + 1,
  starts: startsOf('A-Za-z0-9_', { atWordStart: true }),
  match(text, at, complete) {
    let index = at;
    while (index < text.length && index - at <= LOCAL_MAX && LOCAL.test(text.charAt(index))) index++;
    if (index === text.length) return complete ? NONE : MORE;
    if (text.charAt(index) !== '@') return NONE;
    const domain = index + 1;
    index = domain;
    while (index < text.length && index - domain <= DOMAIN_MAX && DOMAIN.test(text.charAt(index))) index++;
    if (index === text.length && !complete) return MORE;
    const found = /^(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,}/.exec(text.slice(domain, index));
    return found === null ? NONE : domain + found[0].length;
  },
  canonical: (match) => match.toLowerCase(),
};
