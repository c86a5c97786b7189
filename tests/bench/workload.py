# Objects, dictionaries, text and JSON; PYTHONMALLOC=malloc sends all of it through malloc. Argument: per cent.
import collections
import json
import random
import re
import sys

scale = int(sys.argv[1])
rnd = random.Random(1)


class Point:
    def __init__(self, x, y):
        self.x, self.y, self.tags = x, y, [str(x), str(y)]


total = 0
for _ in range(max(1, scale // 10)):
    points = [Point(rnd.random(), i) for i in range(10000)]
    by = collections.defaultdict(list)
    for p in points:
        by[p.y % 97].append(p)
    rnd.shuffle(points)
    del points[::2]
    text = json.dumps({k: [[p.x, p.tags] for p in v] for k, v in by.items()})
    total += len(json.loads(text)) + sum(len(w) for w in re.findall(r"\d+", text[:200000]))
    words = collections.Counter(text[i:i + 5] for i in range(0, len(text) - 5, 3))
    total += len(words)
print(total)
