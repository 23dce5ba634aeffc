/** A process that says it is up and ends on SIGTERM with exit code 0. */
const running = setInterval(() => {}, 1000);
process.on('SIGTERM', () => {
  clearInterval(running);
  process.stdout.write('ended in order\n');
  process.exit(0);
});
process.stdout.write('up\n');
