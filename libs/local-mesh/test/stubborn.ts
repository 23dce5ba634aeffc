/** A process that says it is up and takes no notice of SIGTERM. */
process.on('SIGTERM', () => process.stdout.write('asked to end\n'));
process.stdout.write('up\n');
setInterval(() => {}, 1000);
