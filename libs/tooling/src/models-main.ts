// What the bootstrap still calls; the program is models/main.ts.
import './models/main.ts';
