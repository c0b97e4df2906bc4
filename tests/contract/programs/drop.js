// Node's client of the contract, on SQLite: see ../clients.py for what comes in and goes out.
const { DatabaseSync } = require('node:sqlite');
const db = new DatabaseSync(process.argv[3]);
db.exec('PRAGMA busy_timeout = 60000');
const value = (given) => {
  if (given === 'n') return null;
  const octets = Buffer.from(given.slice(1), 'hex');
  return given[0] === 'b' ? octets : given[0] === 'i' ? Number(octets.toString()) : octets.toString();
};
const shown = (cell) => (cell === null ? '-' : Buffer.from(String(cell)).toString('hex'));
for (const line of require('node:fs').readFileSync(0, 'utf8').trimEnd().split('\n')) {
  const [statement, ...parameters] = line.split('\t');
  try {
    const rows = db.prepare(Buffer.from(statement, 'hex').toString()).all(...parameters.map(value));
    console.log('ok' + rows.map((row) => '\t' + Object.values(row).map(shown).join(',')).join(''));
  } catch (error) {
    console.log('no\t' + Buffer.from(error.message).toString('hex'));
  }
}
