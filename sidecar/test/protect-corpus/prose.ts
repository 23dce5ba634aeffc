import type { Random } from './random.ts';

/** `{}` stands for what is put in. */
const SENTENCES = [
  'Please look at {} and tell me what you think.',
  'I have noted {} for you, is there anything else?',
  'Here it is: {}',
  '{} was sent to us yesterday.',
  'The customer wrote "{}" in the form.',
  'Summarise this message: Hello, I am writing about {}, which did not work. Thanks!',
  '{"role":"user","content":"{}","id":7}',
  '| name | value |\n| --- | --- |\n| a | {} |',
  'Können Sie {} prüfen? Vielen Dank im Voraus.',
  'Merci de vérifier {} avant demain.',
  '请检查 {} 是否正确。',
  'Пожалуйста, проверьте {} сегодня.',
  'a,b,{},d',
  '<p>{}</p>',
  '({})',
  'Step 1: open the page. Step 2: enter {}. Step 3: wait 30 seconds.',
  'Is it **{}** or not?',
  '- {}\n- 2 more\n',
];

const FILLERS = [
  'The quick brown fox jumps over the lazy dog. ',
  'In 2026 we moved 14 services to the new cluster; 3 are left. ',
  'Section 7.2 of the document explains it in 250 words. ',
  'It costs 19.99 per month, or 199 per year. ',
  'The meeting is at 10:30 in room 4.12. ',
  'function add(a, b) { return a + b; } // see line 42 ',
  'Der Zug fährt um 8 Uhr 15 von Gleis 7 ab. ',
  '会议在下午三点开始，请准时参加。',
  '',
  '',
];

/** A sentence around a value, and where the value stands in it. */
export function inProse(random: Random, value: string): { readonly text: string; readonly at: number } {
  const before = random.pick(FILLERS);
  const sentence = random.pick(SENTENCES);
  const place = sentence.indexOf('{}');
  return {
    text: `${before}${sentence.slice(0, place)}${value}${sentence.slice(place + 2)} ${random.pick(FILLERS)}`,
    at: before.length + place,
  };
}
