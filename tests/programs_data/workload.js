// Buffers, maps, JSON, compression, hashes, worker threads and a child process; prints digests only.
'use strict';
const { createHash } = require('crypto');
const { execFileSync } = require('child_process');
const { Worker, isMainThread, parentPort, workerData } = require('worker_threads');
const zlib = require('zlib');

let seed = 11;
const rnd = (n) => { seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff; return (seed >>> 16) % n; };
const sha = (x) => createHash('sha1').update(x).digest('hex');

function buffers(rounds) {
	const live = new Map();
	let sum = 0;
	for (let i = 0; i < rounds; i++) {
		const k = rnd(500);
		const old = live.get(k);
		if (old) {
			for (const byte of [old[0], old[old.length - 1]]) sum = (sum * 31 + byte) >>> 0;
			live.delete(k);
		} else {
			live.set(k, Buffer.alloc(rnd(60000) + 1, rnd(256)));
		}
	}
	return `${live.size} ${sum}`;
}

if (!isMainThread) {
	seed = workerData;
	parentPort.postMessage(buffers(8000));
} else {
	(async () => {
		console.log('buffers', buffers(20000));
		const object = {};
		for (let i = 0; i < 40000; i++) object['key' + rnd(30000)] = { i, s: 'v'.repeat(rnd(40)), a: [i, i * 2] };
		const text = JSON.stringify(object);
		console.log('json', text.length, sha(text), sha(JSON.stringify(JSON.parse(text))));
		for (const level of [1, 6, 9]) {
			const packed = zlib.deflateSync(text, { level });
			console.log('deflate', level, packed.length, sha(zlib.inflateSync(packed)));
		}
		console.log('brotli', sha(zlib.brotliDecompressSync(zlib.brotliCompressSync(text.slice(0, 200000)))));
		const results = await Promise.all([1, 2, 3, 4].map((n) => new Promise((ok, bad) => {
			const w = new Worker(__filename, { workerData: n });
			w.on('message', ok);
			w.on('error', bad);
		})));
		console.log('workers', results.join(' | '));
		const gz = await Promise.all(Array.from({ length: 24 }, (_, i) => new Promise((ok, bad) =>
			zlib.gzip(Buffer.alloc(100000, 'ab' + i), (e, b) => (e ? bad(e) : ok(b.length))))));
		console.log('gzip', gz.join(' '));
		console.log('child', execFileSync('/bin/echo', ['from a child']).toString().trim());
	})();
}
