# Threads, fork by multiprocessing, dictionaries of many sizes and compression; prints digests only.
import hashlib
import json
import multiprocessing
import random
import threading
import zlib


def churn(seed, rounds):
    rnd = random.Random(seed)
    live = {}
    digest = hashlib.sha1()
    for _ in range(rounds):
        key = rnd.randrange(400)
        old = live.pop(key, None)
        if old is None:
            live[key] = bytes([rnd.randrange(256)]) * rnd.randrange(1, 3000)
        else:
            digest.update(old)
    return digest.hexdigest()


def in_child(seed):
    return churn(seed, 20000) + " " + str(len(zlib.compress(TEXT)))


TEXT = json.dumps({str(i): list(range(i % 50)) for i in range(20000)}).encode()

if __name__ == "__main__":
    results = [None] * 8

    def work(i):
        results[i] = churn(i, 20000)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for t in threads:
        t.start()
    # children are forked while the threads allocate
    with multiprocessing.get_context("fork").Pool(4) as pool:
        children = pool.map(in_child, range(12))
    for t in threads:
        t.join()
    for line in results + children:
        print(line)
    print(len(TEXT), hashlib.sha1(TEXT).hexdigest(), churn(99, 20000))
