#!/usr/bin/env python3
"""Real programs with their heap in a pool: each is run without and with libvmmalloc preloaded, and the outputs
must be the same.

Every case is a function that gets a Run, drives a program through it and returns what is to be compared (anything
with ==). It is called twice: once on the plain system, once with LD_PRELOAD and VMMALLOC_*. A case fails when it
raises Failure, when the two results differ, or when a program prints a complaint of the loader or of the library.
Servers listen on unix sockets below the case's own folder and are stopped when the case ends, however it ends.
"""

import argparse
import contextlib
import glob
import hashlib
import http.client
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import xml.etree.ElementTree

HERE = os.path.dirname(os.path.abspath(__file__))
DATA = os.path.join(HERE, "programs_data")
ROOT = os.path.dirname(HERE)
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"  # Debian's programs, not those of some version manager in the user's PATH
MIB = 1 << 20
COMPLAINTS = (b"cannot be preloaded", b"Error (libvmmalloc)", b"libvmmalloc:")


class Failure(Exception):
    pass


class Skip(Exception):
    pass


def which(name):
    return shutil.which(name, path=PATH)


def digest(data):
    return hashlib.sha256(data).hexdigest()[:16]


def data(name):
    return os.path.join(DATA, name)


def tail(raw, lines=8):
    return "\n".join(raw.decode(errors="replace").splitlines()[-lines:])


def kill_group(process):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


class Run:
    """One run of a case: plain (library is None) or in a pool."""

    def __init__(self, folder, pool_dir=None, library=None, size=None, fork=None):
        self.dir = folder
        self.user = None  # set by cases that may not run as root
        self.preloaded = library is not None
        self.env = {"PATH": PATH, "HOME": folder, "TMPDIR": folder, "LC_ALL": "C.UTF-8", "TZ": "UTC",
                    "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
        if library:
            self.env.update(LD_PRELOAD=library, VMMALLOC_POOL_DIR=pool_dir, VMMALLOC_POOL_SIZE=str(size * MIB))
            if fork is not None:
                self.env["VMMALLOC_FORK"] = str(fork)

    def path(self, name):
        return os.path.join(self.dir, name)

    def write(self, name, text):
        os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
        with open(self.path(name), "wb" if isinstance(text, bytes) else "w") as f:
            f.write(text)
        if self.user:
            shutil.chown(self.path(name), self.user)
        return self.path(name)

    def _popen(self, argv, env, **kw):
        if self.user:
            kw.update(user=self.user, group=self.user, extra_groups=[])
        return subprocess.Popen(argv, cwd=self.dir, env={**self.env, **(env or {})}, start_new_session=True, **kw)

    def cmd(self, *argv, stdin=b"", timeout=150, status=0, env=None):
        """Runs to its end; returns stdout. Any other exit status than `status` (None: any) is a Failure."""
        p = self._popen(argv, env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            out, err = p.communicate(stdin.encode() if isinstance(stdin, str) else stdin, timeout=timeout)
        except subprocess.TimeoutExpired:
            kill_group(p)
            out, err = p.communicate()
            raise Failure("%s: still running after %d s\n%s" % (os.path.basename(argv[0]), timeout, tail(out + err)))
        except BaseException:
            kill_group(p)
            raise
        self._complaints(argv[0], err)
        if status is not None and p.returncode != status:
            raise Failure("%s: exit status %d\n%s" % (" ".join(argv)[:120], p.returncode, tail(err or out)))
        self.stderr = err
        return out

    @staticmethod
    def _complaints(name, err):
        for c in COMPLAINTS:
            if c in err:
                lines = [line for line in err.splitlines() if c in line]
                raise Failure("%s: %s" % (os.path.basename(name), lines[0].decode(errors="replace")))

    @contextlib.contextmanager
    def server(self, *argv, sock, stop=signal.SIGTERM, env=None):
        """Runs until the block ends; `sock` is the unix socket whose readiness is waited for."""
        log = open(self.path("server.log"), "ab+")
        p = self._popen(argv, env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

        def words():
            log.seek(0)
            return log.read()

        try:
            limit = time.monotonic() + 30
            while True:
                if p.poll() is not None:
                    self._complaints(argv[0], words())
                    raise Failure("%s: ended at once with %d\n%s" % (argv[0], p.returncode, tail(words())))
                with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as s:
                    s.connect(sock)
                    break
                if time.monotonic() > limit:
                    raise Failure("%s: not ready after 30 s\n%s" % (argv[0], tail(words())))
                time.sleep(0.02)
            if self.preloaded:
                with open("/proc/%d/maps" % p.pid) as maps:
                    if os.path.basename(self.env["LD_PRELOAD"]) not in maps.read():
                        raise Failure("%s: runs without the library" % argv[0])
            yield p
            if p.poll() is not None:
                self._complaints(argv[0], words())
                raise Failure("%s: ended under load with %d\n%s" % (argv[0], p.returncode, tail(words())))
            os.kill(p.pid, stop)
            try:
                p.wait(30)
            except subprocess.TimeoutExpired:
                raise Failure("%s: does not end on signal %d\n%s" % (argv[0], stop, tail(words())))
            self._complaints(argv[0], words())
            if p.returncode not in (0, -stop):
                raise Failure("%s: exit status %d\n%s" % (argv[0], p.returncode, tail(words())))
        finally:
            kill_group(p)
            p.wait()
            log.close()


# --- the programs ----------------------------------------------------------------------------------------------

PYTHON = "/usr/bin/python3"
PYTHON_TESTS = """
    array ast asyncgen audioop base64 binascii bisect buffer bytes bz2 codecs collections compile configparser
    contextlib copy coroutines csv ctypes dataclasses datetime decimal deque descr dict difflib email enum exceptions
    fileio float fork1 format fractions fstring functools gc generators grammar gzip hashlib heapq html inspect int
    itertools json list long lzma marshal math memoryio memoryview minidom mmap ordered_dict os pickle posix pprint
    pyexpat random re sax set shelve shlex slice sort statistics string struct subprocess symtable syntax tempfile
    textwrap thread tokenize traceback tuple types typing unicode unicodedata urllib userdict weakref weakset
    xml_etree xml_etree_c zipfile zlib
    """.split()


# It starts a program and lists all its descriptors; the one that libvmmalloc keeps of its pool is among them.
PYTHON_SEES_POOL = {"test.test_subprocess.POSIXProcessTestCase.test_pass_fds_redirected"}


def python_own_tests(run, modules=None):
    """Python's own test suite; compared is the outcome of every single test. PYTHONMALLOC=malloc sends all of
    Python's objects through malloc."""
    run.cmd(PYTHON, "-m", "test", "-j2", "--timeout", "200", "--junit-xml", run.path("result.xml"),
            *(modules or ["test_" + t for t in PYTHON_TESTS]), env={"PYTHONMALLOC": "malloc"}, timeout=400, status=None)
    if not os.path.exists(run.path("result.xml")):
        raise Failure("python3 -m test left no result\n" + tail(run.stderr))
    outcome = {}
    for case in xml.etree.ElementTree.parse(run.path("result.xml")).getroot().iter("testcase"):
        bad = [child.tag for child in case if child.tag in ("error", "failure", "skipped")]
        if case.get("name") not in PYTHON_SEES_POOL:
            outcome[case.get("name")] = bad[0] if bad else "ok"
    if modules is None and len(outcome) < 10000:
        raise Failure("only %d tests were run" % len(outcome))
    run.note = "%d of %d tests ok" % (list(outcome.values()).count("ok"), len(outcome))
    return outcome


def python_script(run):
    return run.cmd(PYTHON, data("workload.py"), env={"PYTHONMALLOC": "malloc"})


def perl(run):
    out = run.cmd("perl", data("workload.pl"))
    pods = sorted(glob.glob("/usr/share/perl/5*/**/*.p[mo]d", recursive=True) +
                  glob.glob("/usr/share/perl/5*/**/*.pm", recursive=True))[:120]
    script = "use Pod::Text; for (@ARGV) { my $o; my $p = Pod::Text->new; $p->output_string(\\$o); " \
             "$p->parse_file($_); print length $o, qq(\\n) }"
    return out, run.cmd("perl", "-e", script, *pods)


def lua(run):
    return run.cmd("lua5.4", data("workload.lua"))


def sqlite(run):
    with open(data("workload.sql"), "rb") as f:
        out = run.cmd("sqlite3", "-batch", "-bail", run.path("db"), stdin=f.read())
    return out, digest(run.cmd("sqlite3", "-batch", run.path("db"), ".dump"))


def git(run):
    """A repository made by fast-import, cloned over the transport, repacked with two threads, checked."""
    rnd = random.Random(5)
    stream, files = [], {}
    for n in range(400):
        for _ in range(4):
            name = "dir%d/file%d" % (rnd.randrange(20), rnd.randrange(40))
            lines = files.get(name, [])
            lines[rnd.randrange(len(lines) + 1):0] = ["%032x" % rnd.getrandbits(128) for _ in range(rnd.randrange(60))]
            files[name] = lines
            body = "\n".join(lines)
            stream.append("blob\nmark :%d\ndata %d\n%s\n" % (len(stream) + 1, len(body), body))
        marks = [len(stream) - i for i in range(4)]
        names = list(files)[-1:]
        stream.append("commit refs/heads/main\nmark :%d\ncommitter A <a@example.org> %d +0000\ndata 8\ncommit%02d\n%s\n"
                      % (len(stream) + 1, 1500000000 + n * 60, n % 100,
                         "".join("M 100644 :%d d%d/%s-%d\n" % (m, m % 7, names[0].replace("/", "-"), m) for m in marks)))
    run.cmd("git", "init", "-q", "-b", "main", "one")
    run.cmd("git", "-C", "one", "fast-import", "--quiet", stdin="".join(stream))
    run.cmd("git", "-C", "one", "reset", "-q", "--hard")
    run.cmd("git", "clone", "-q", "--no-local", "one", "two")
    run.cmd("git", "-C", "two", "-c", "pack.threads=2", "gc", "-q", "--aggressive", "--prune=now")
    run.cmd("git", "-C", "two", "checkout", "-q", "-b", "side", "HEAD~50")
    run.cmd("git", "-C", "two", "-c", "user.name=A", "-c", "user.email=a@example.org", "merge", "-q", "--no-edit", "main")
    out = [run.cmd("git", "-C", "two", *argv) for argv in (
        ["fsck", "--full", "--strict"], ["rev-parse", "HEAD"], ["count-objects"], ["status", "--short"],
        ["ls-files", "-s"], ["log", "--stat", "-60"], ["diff", "HEAD~30", "HEAD"], ["grep", "-c", "abc"])]
    return [digest(o) if len(o) > 200 else o for o in out]


def generated_c(functions):
    out = ["#include <stdio.h>\n#include <string.h>\nstruct s { int a[8]; double d; const char *p; };\n"]
    for i in range(functions):
        out.append("static int f%d(struct s *s, int n)\n{\n\tint r = %d;\n\tfor (int i = 0; i < n; i++) {\n"
                   "\t\tswitch (s->a[i & 7] %% %d) {\n%s\t\tdefault: s->d += r * %d.5; }\n\t}\n%s\treturn r;\n}\n"
                   % (i, i, i % 9 + 3,
                      "".join("\t\tcase %d: r = r * %d + s->a[%d]; break;\n" % (c, c + i, (c + i) % 8) for c in range(i % 9 + 2)),
                      i, "\tr += f%d(s, n / 2);\n" % (i - 1) if i % 4 else ""))
    out.append("int main(void)\n{\n\tstruct s s = { { 1, 2, 3, 4, 5, 6, 7, 8 }, 0, \"x\" };\n\tunsigned sum = 0;\n")
    out += ["\tsum += (unsigned)f%d(&s, 9);\n" % i for i in range(functions)]
    out.append("\tprintf(\"%u %.1f\\n\", sum, s.d);\n\treturn 0;\n}\n")
    return "".join(out)


def generated_cxx(classes):
    out = ["#include <algorithm>\n#include <functional>\n#include <iostream>\n#include <map>\n#include <memory>\n"
           "#include <regex>\n#include <string>\n#include <unordered_map>\n#include <vector>\n"
           "template <int N> struct fib { static constexpr long v = (fib<N - 1>::v + fib<N - 2>::v) % 1000003; };\n"
           "template <> struct fib<0> { static constexpr long v = 0; };\n"
           "template <> struct fib<1> { static constexpr long v = 1; };\n"]
    for i in range(classes):
        out.append("struct c%d { int x; std::string s; bool operator<(const c%d &o) const { return x < o.x; } };\n"
                   "long use%d() {\n\tstd::map<c%d, std::vector<std::shared_ptr<c%d>>> m;\n"
                   "\tstd::unordered_map<std::string, std::function<int(int)>> f;\n"
                   "\tfor (int i = 0; i < 50; i++) {\n\t\tm[c%d{i %% 7, \"k\"}].push_back(std::make_shared<c%d>(c%d{i, \"v\"}));\n"
                   "\t\tf[std::to_string(i)] = [i](int y) { return i * y; };\n\t}\n\tlong r = fib<%d>::v;\n"
                   "\tfor (auto &e : m) { std::sort(e.second.begin(), e.second.end()); r += e.second.size() * f[\"3\"](e.first.x); }\n"
                   "\treturn r;\n}\n" % (i, i, i, i, i, i, i, i, 200 + i))
    out.append("int main() {\n\tlong r = 0;\n" + "".join("\tr += use%d();\n" % i for i in range(classes)) +
               "\tstd::cout << r << std::regex_replace(\" aaa\", std::regex(\"a+\"), \"b\") << '\\n';\n}\n")
    return "".join(out)


def gcc(run):
    """A large generated source and this project's own; object bytes are compared, and what the program prints."""
    run.write("big.c", generated_c(600))
    run.cmd("gcc", "-O2", "-g", "-c", "big.c", "-o", "big.o")
    run.cmd("gcc", "big.o", "-o", "big")
    objects = []
    for source in sorted(glob.glob(os.path.join(ROOT, "alloc", "*.c")) + glob.glob(os.path.join(ROOT, "api", "common", "*.c"))):
        run.cmd("gcc", "-std=gnu17", "-O2", "-pipe", "-I" + ROOT, "-I" + os.path.join(ROOT, "api/include"),
                "-DPMHEAP_VERSION=\"0\"", "-c", source, "-o", "own.o")
        with open(run.path("own.o"), "rb") as f:
            objects.append((os.path.basename(source), digest(f.read())))
    with open(run.path("big.o"), "rb") as f:
        return digest(f.read()), objects, run.cmd(run.path("big"))


def gxx(run):
    run.write("big.cc", generated_cxx(24))
    run.cmd("g++", "-std=c++17", "-O1", "-g", "-frandom-seed=1", "-c", "big.cc", "-o", "big.o")
    run.cmd("g++", "big.o", "-o", "big")
    with open(run.path("big.o"), "rb") as f:
        return digest(f.read()), run.cmd(run.path("big"))


def make_and_shell(run):
    """Many short processes: a pool is made and dropped in each."""
    rules = "".join("t%d: %s\n\t@echo $@ | sed s/t/target/ > $@\n" % (i, "t%d" % (i // 3) if i else "") for i in range(200))
    run.write("make/Makefile", "all: " + " ".join("t%d" % i for i in range(200)) + "\n\t@cat $^ | sort | md5sum\n" + rules)
    loop = "i=0; while [ $i -lt 200 ]; do echo $(expr $i \\* 2) $(basename /a/b$i) | cut -c1-20; i=$((i+1)); done"
    return run.cmd("make", "-s", "-j4", "-C", "make"), run.cmd("sh", "-c", loop), run.cmd("bash", "-c", loop)


class UnixHTTP(http.client.HTTPConnection):
    def __init__(self, sock_path):
        super().__init__("localhost", timeout=30)
        self.sock_path = sock_path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.sock_path)


def in_threads(n, fn):
    """fn(0..n-1), each in a thread; their results, or the first error."""
    results, errors = [None] * n, []

    def body(i):
        try:
            results[i] = fn(i)
        except Exception as e:  # handed on to the caller below
            errors.append(e)

    threads = [threading.Thread(target=body, args=(i,)) for i in range(n)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if errors:
        raise Failure("client: %r" % errors[0])
    return results


def nginx(run):
    """Static files, compression, a proxy to itself and a reload, under four clients."""
    rnd = random.Random(3)
    for i, size in enumerate((0, 1, 100, 4000, 30000, 200000, 1500000)):
        run.write("www/f%d.txt" % i, "".join(rnd.choices("abcdefgh \n", k=size)))
    sock = run.path("http.sock")
    run.write("nginx.conf", """
        user root; daemon off; worker_processes 2; pid nginx.pid; error_log stderr warn;
        events { worker_connections 200; }
        http {
            access_log off; gzip on; gzip_types text/plain; default_type text/plain; client_body_temp_path tmp1;
            proxy_temp_path tmp2; fastcgi_temp_path tmp3; uwsgi_temp_path tmp4; scgi_temp_path tmp5;
            server {
                listen unix:%s; root www; autoindex on; autoindex_exact_size on;
                location /proxy/ { proxy_pass http://unix:%s:/; proxy_buffering on; }
            }
        }""" % (sock, sock))

    def client(number):
        rnd, seen, c = random.Random(number), hashlib.sha1(), UnixHTTP(sock)
        for i in range(600):
            url = rnd.choice(["", "/proxy"]) + rnd.choice(["/f%d.txt" % rnd.randrange(7), "/missing%d" % i])
            try:
                c.request("GET", url, headers={"Accept-Encoding": "gzip"} if rnd.randrange(2) else {})
                r = c.getresponse()
                body = r.read()
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                c.close()  # the reload ends idle connections; the request goes over a new one
                c.request("GET", url)
                r = c.getresponse()
                body = r.read()
            if r.headers.get("Content-Encoding") == "gzip":
                import zlib
                body = zlib.decompress(body, 47)
            seen.update(b"%d %d " % (r.status, len(body)) + hashlib.sha1(body).digest())
        c.close()
        return seen.hexdigest()

    with run.server("nginx", "-p", run.dir, "-c", "nginx.conf", "-e", "stderr", sock=sock, stop=signal.SIGQUIT) as p:
        first = in_threads(4, client)
        os.kill(p.pid, signal.SIGHUP)
        return first, in_threads(4, client)


def memcached(run):
    """Four clients, each with keys of its own, against a cache large enough that nothing is evicted."""
    sock = run.path("mc.sock")

    def client(number):
        rnd, model, bad = random.Random(number), {}, 0
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(30)
        s.connect(sock)
        f = s.makefile("rwb")
        for _ in range(12000):
            key = b"k%d-%d" % (number, rnd.randrange(1500))
            action = rnd.randrange(10)
            if action < 5:
                value = bytes([97 + rnd.randrange(26)]) * int(2 ** rnd.uniform(0, 13))
                f.write(b"set %s 0 0 %d\r\n%s\r\n" % (key, len(value), value))
                f.flush()
                bad += f.readline() != b"STORED\r\n"
                model[key] = value
            elif action < 6:
                f.write(b"delete %s\r\n" % key)
                f.flush()
                bad += f.readline() != (b"DELETED\r\n" if model.pop(key, None) is not None else b"NOT_FOUND\r\n")
            else:
                f.write(b"get %s\r\n" % key)
                f.flush()
                head, got = f.readline(), None
                if head.startswith(b"VALUE"):
                    got = f.read(int(head.split()[3]) + 2)[:-2]
                    head = f.readline()
                bad += head != b"END\r\n" or got != model.get(key)
        f.close()
        s.close()
        return bad, len(model)

    user = ["-u", "root"] if os.geteuid() == 0 else []
    with run.server("memcached", "-s", sock, "-m", "256", "-t", "2", "-c", "100", *user, sock=sock, stop=signal.SIGINT):
        results = in_threads(4, client)
        if any(bad for bad, _ in results):
            raise Failure("wrong answers: %r" % (results,))
        return results


def redis(run):
    """redis-benchmark, a data set, BGSAVE (fork) while writes go on, and a restart from the dump."""
    sock = run.path("redis.sock")
    argv = ["redis-server", "--port", "0", "--unixsocket", sock, "--save", "", "--dir", run.dir, "--daemonize", "no",
            "--enable-debug-command", "local", "--shutdown-on-sigterm", "nosave"]

    def cli(*words, stdin=b""):
        return run.cmd("redis-cli", "-s", sock, *words, stdin=stdin).decode().strip()

    rnd, script = random.Random(8), []
    for i in range(60000):
        k = rnd.randrange(4000)
        script.append(rnd.choice(["SET s%d %s", "APPEND s%d %s", "RPUSH l%d %s", "SADD t%d %s", "HSET h%d f%s 1",
                                  "ZADD z%d 1 %s", "DEL s%d l%s"]) % (k, ("v%d" % i) * rnd.randrange(1, 12)))
    with run.server(*argv, sock=sock):
        bench = run.cmd("redis-benchmark", "-s", sock, "-q", "-n", "20000", "-c", "20", "-P", "8", "-d", "200", "-r", "5000",
                        "-t", "set,get,incr,lpush,rpop,sadd,hset,zadd,lrange_100")
        tests = len([part for part in bench.decode().split("\n") if "requests per second" in part])
        cli("FLUSHALL")
        cli("--pipe", stdin="".join(line + "\r\n" for line in script[:40000]))
        first = cli("DEBUG", "DIGEST")
        cli("BGSAVE")
        cli("--pipe", stdin="".join(line + "\r\n" for line in script[40000:]))
        limit = time.monotonic() + 60
        while "rdb_bgsave_in_progress:1" in cli("INFO", "persistence"):
            if time.monotonic() > limit:
                raise Failure("BGSAVE does not end")
            time.sleep(0.05)
        if "rdb_last_bgsave_status:ok" not in cli("INFO", "persistence"):
            raise Failure("BGSAVE failed\n" + cli("INFO", "persistence"))
        second = cli("DEBUG", "DIGEST")
    with run.server(*argv, sock=sock):
        reloaded = cli("DEBUG", "DIGEST")
    if reloaded != first or first == second:
        raise Failure("digests: before %s, after %s, from the dump %s" % (first, second, reloaded))
    return tests, first, second


def node(run):
    return run.cmd("node", data("workload.js"))


def postgres(run):
    """initdb, pgbench with four clients (a fork per connection), and queries whose answers are known."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"))
    if not found:
        raise Skip("no initdb in /usr/lib/postgresql")
    bindir = os.path.dirname(found[-1])
    if os.geteuid() == 0:
        run.user = "postgres"
        shutil.chown(run.dir, "postgres")
    db = run.path("db")
    run.cmd(bindir + "/initdb", "-D", db, "-A", "trust", "-N", "-U", "test", "--locale=C", "-E", "UTF8")
    argv = [bindir + "/postgres", "-D", db, "-k", run.dir, "-c", "listen_addresses=", "-c", "fsync=off", "-c",
            "shared_buffers=32MB", "-c", "max_connections=30", "-c", "max_parallel_workers=2", "-c", "log_min_messages=warning"]
    common = ["-h", run.dir, "-U", "test"]
    with run.server(*argv, sock=run.path(".s.PGSQL.5432"), stop=signal.SIGINT):
        limit = time.monotonic() + 30
        while b"accepting" not in run.cmd(bindir + "/pg_isready", "-h", run.dir, status=None):
            if time.monotonic() > limit:
                raise Failure("postgres does not accept connections")
            time.sleep(0.05)
        run.cmd(bindir + "/pgbench", *common, "-i", "-q", "-s", "2", "postgres")
        load = run.cmd(bindir + "/pgbench", *common, "-n", "-c", "4", "-j", "2", "-t", "250", "postgres").decode()
        again = run.cmd(bindir + "/pgbench", *common, "-n", "-C", "-S", "-c", "4", "-t", "25", "postgres").decode()
        counts = [re.findall(r"transactions actually processed: (\d+/\d+)|failed transactions: (\d+)", t) for t in (load, again)]
        sql = """SELECT count(*), sum(bid) FROM pgbench_accounts;
            SELECT count(*) FROM pgbench_history;
            SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(delta) FROM pgbench_history),
                   (SELECT sum(tbalance) FROM pgbench_tellers) = (SELECT sum(bbalance) FROM pgbench_branches);
            CREATE TABLE t AS SELECT i, md5(i::text) AS m, i % 100 AS g FROM generate_series(1, 100000) i;
            CREATE INDEX ON t (m);
            SELECT g, count(*), min(m), max(m) FROM t GROUP BY g ORDER BY g LIMIT 20;
            SELECT md5(string_agg(m, ',' ORDER BY m DESC)) FROM t;
            SELECT count(*) FROM t a JOIN t b USING (m) WHERE a.m ~ '^[0-9]+a';
            SELECT jsonb_agg(to_jsonb(t)) -> 77 ->> 'm' FROM t WHERE g = 5;"""
        return counts, run.cmd(bindir + "/psql", *common, "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "postgres", stdin=sql)


def stress_ng(run):
    """Stressors that allocate until NULL and that fork; --verify makes them look at what they wrote."""
    for argv in (["--malloc", "2", "--malloc-ops", "300000", "--malloc-bytes", "64k"],
                 ["--malloc", "1", "--malloc-ops", "8000", "--malloc-bytes", "8m", "--malloc-pthreads", "3"],
                 ["--fork", "2", "--fork-ops", "1500"], ["--bsearch", "1", "--bsearch-ops", "3", "--tsearch", "1", "--tsearch-ops", "3"],
                 ["--hsearch", "1", "--hsearch-ops", "20", "--list", "1", "--list-ops", "15", "--tree", "1", "--tree-ops", "3"]):
        run.cmd("stress-ng", "--timeout", "25", "--verify", "--no-rand-seed", "--temp-path", run.dir, *argv, timeout=90)
    return "ended well"


def xz(run):
    rnd = random.Random(1)
    text = "".join(rnd.choices(["alpha ", "beta ", "gamma\n", "0123 "], k=400000)).encode()
    run.write("in", text)
    packed = run.cmd("xz", "-T2", "--block-size=500KiB", "-6", "-c", "in")
    if run.cmd("xz", "-dc", "-T2", stdin=packed) != text:
        raise Failure("xz -d gives something else")
    return digest(packed)


class Case:
    def __init__(self, name, fn, packages, programs, size=512, fork=None):
        self.name, self.fn, self.packages, self.programs, self.size, self.fork = name, fn, packages, programs, size, fork


# name, function, Debian packages, programs that must be there, pool size in MiB, VMMALLOC_FORK (None: unset)
CASES = [
    Case("lua5.4", lua, ["lua5.4"], ["lua5.4"]),
    Case("perl", perl, ["perl"], ["perl"]),
    Case("perl, fork mode 2", perl, ["perl"], ["perl"], fork=2),
    Case("sqlite3", sqlite, ["sqlite3"], ["sqlite3"]),
    Case("xz, two threads", xz, ["xz-utils"], ["xz"], size=1024),
    Case("node", node, ["nodejs"], ["node"]),
    Case("python3 script, fork mode 1", python_script, ["python3"], [PYTHON], fork=1),
    Case("python3 script, fork mode 2", python_script, ["python3"], [PYTHON], fork=2),
    Case("python3 script, fork mode 3", python_script, ["python3"], [PYTHON], fork=3),
    Case("make and shell loops", make_and_shell, ["make", "bash"], ["make", "bash"], size=64),
    Case("git", git, ["git"], ["git"]),
    Case("git, fork mode 2", git, ["git"], ["git"], fork=2),
    Case("gcc", gcc, ["gcc", "libc6-dev"], ["gcc"], size=1024),
    Case("g++", gxx, ["g++"], ["g++"], size=2048),
    Case("redis, fork mode 1", redis, ["redis-server", "redis-tools"], ["redis-server", "redis-benchmark"], fork=1),
    Case("redis, fork mode 2", redis, ["redis-server", "redis-tools"], ["redis-server", "redis-benchmark"], fork=2),
    Case("nginx", nginx, ["nginx-light"], ["nginx"]),
    Case("nginx, fork mode 2", nginx, ["nginx-light"], ["nginx"], fork=2),
    Case("memcached", memcached, ["memcached"], ["memcached"]),
    Case("postgresql", postgres, ["postgresql"], []),
    Case("postgresql, fork mode 2", postgres, ["postgresql"], [], fork=2),
    Case("stress-ng", stress_ng, ["stress-ng"], ["stress-ng"], size=64),
    Case("stress-ng, fork mode 2", stress_ng, ["stress-ng"], ["stress-ng"], size=64, fork=2),
    Case("python3 test suite", python_own_tests, ["python3", "libpython3.11-testsuite"], [PYTHON], size=2048),
]


# --- packages --------------------------------------------------------------------------------------------------

def missing_packages(cases):
    wanted = sorted({p for c in cases for p in c.packages})
    missing = []
    for p in wanted:
        q = subprocess.run(["dpkg-query", "-W", "-f", "${Status}", p], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        if q.stdout != b"install ok installed":
            missing.append(p)
    return missing


def install(packages):
    """Installs without starting any server: a policy-rc.d that says no is put in place where there is none."""
    policy = "/usr/sbin/policy-rc.d"
    mine = not os.path.exists(policy)
    if mine:
        with open(policy, "w") as f:
            f.write("#!/bin/sh\nexit 101\n")
        os.chmod(policy, 0o755)
    try:
        env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        base = ["apt-get", "-q", "-o", "DPkg::Lock::Timeout=300"]
        quiet = dict(env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if subprocess.call(base + ["install", "-y", "--no-install-recommends"] + packages, **quiet) != 0:
            subprocess.call(base + ["update"], **quiet)
            for p in packages:  # one by one: a package that cannot be had must not take the others along
                subprocess.call(base + ["install", "-y", "--no-install-recommends", p], **quiet)
    finally:
        if mine:
            os.unlink(policy)


def provide(cases, may_install):
    missing = missing_packages(cases) if which("dpkg-query") else []
    if not missing:
        return
    # a program that is there from elsewhere needs no package
    needed = sorted({p for c in cases for p in c.packages if p in missing and
                     (not c.programs or not all(which(x) for x in c.programs) or p.endswith("-testsuite"))})
    if not needed:
        return
    if may_install and os.geteuid() == 0 and which("apt-get"):
        print("installing: " + " ".join(needed), flush=True)
        install(needed)
    else:
        print("not installed: " + " ".join(needed), flush=True)


def reason_to_skip(case):
    for p in case.programs:
        if not which(p):
            return "%s not found, and package %s not to be had" % (p, " ".join(case.packages))
    if case.fn is python_own_tests and subprocess.call([PYTHON, "-c", "import test.test_dict, test.libregrtest"],
                                                       stderr=subprocess.DEVNULL) != 0:
        return "package libpython3.11-testsuite not to be had"
    return None


# --- running ---------------------------------------------------------------------------------------------------

def difference(a, b):
    if isinstance(a, dict) and isinstance(b, dict):
        keys = [k for k in sorted(set(a) | set(b)) if a.get(k) != b.get(k)]
        return "%d differ: " % len(keys) + ", ".join("%s %s -> %s" % (k, a.get(k), b.get(k)) for k in keys[:8])
    if isinstance(a, bytes) and isinstance(b, bytes):
        pairs = list(zip(a.splitlines(), b.splitlines()))
        for n, (x, y) in enumerate(pairs):
            if x != y:
                return "line %d: %r -> %r" % (n + 1, x[:100], y[:100])
        return "%d bytes -> %d bytes" % (len(a), len(b))
    if isinstance(a, (tuple, list)) and type(a) is type(b) and len(a) == len(b):
        for x, y in zip(a, b):
            if x != y:
                return difference(x, y)
    return "%r -> %r" % (a, b)


def again_alone(case, work, want, got, **pool):
    """Python's tests have time limits, which a busy machine breaks with or without a pool: the modules whose outcome
    differs get a second run in both ways. Returns what differs then."""
    modules = sorted({k.split(".")[1] for k in set(want) | set(got) if want.get(k) != got.get(k)})
    second = [run_once(case, work, modules, **p)[0] for p in ({}, pool)]
    return second[0], second[1], "; run twice: " + " ".join(modules)


def run_once(case, work, *args, **pool):
    folder = os.path.join(work, "run")  # the same path for both runs: some outputs hold it
    shutil.rmtree(folder, ignore_errors=True)
    os.mkdir(folder)
    run = Run(folder, **pool)
    start = time.monotonic()
    result = case.fn(run, *args)
    return result, time.monotonic() - start, getattr(run, "note", "")


def preflight(library, pool_dir):
    """The library can be preloaded at all and makes a pool where it was told to."""
    run = Run("/", pool_dir, library, 64)
    maps = run.cmd("cat", "/proc/self/maps").decode()
    if os.path.basename(library) not in maps:
        raise Failure("%s is not mapped into a preloaded program" % library)
    return any(pool_dir in line for line in maps.splitlines())


def default_library(build):
    return os.path.join(build, "lib", "libvmmalloc.so.1")


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    ap.add_argument("build", nargs="?", default=".", help="build folder (default: the current one)")
    ap.add_argument("--library", help="library to preload (default: lib/libvmmalloc.so.1 of the build folder)")
    ap.add_argument("--pool-dir", help="where pools go (default: /dev/shm, or the temporary folder where that is small)")
    ap.add_argument("--only", action="append", default=[], metavar="TEXT", help="cases whose name holds TEXT")
    ap.add_argument("--no-install", action="store_true", help="do not install missing packages")
    ap.add_argument("--list", action="store_true", help="print the cases and end")
    args = ap.parse_args()

    cases = [c for c in CASES if not args.only or any(t in c.name for t in args.only)]
    if args.list:
        print("\n".join(c.name for c in cases))
        return 0
    library = args.library or default_library(args.build)
    if not os.path.exists(library):
        print("%s: no such library; build it first" % library)
        return 1
    provide(cases, not args.no_install)

    # Other users (postgres) must reach the work folder, the library and the pools. The library is copied: its
    # build folder may lie below a home that only its owner may enter.
    work = tempfile.mkdtemp(prefix="programs.")
    shm = args.pool_dir or ("/dev/shm" if os.path.isdir("/dev/shm") and shutil.disk_usage("/dev/shm").free > 3 << 30 else work)
    pool_dir = tempfile.mkdtemp(prefix="programs-pool.", dir=shm)
    passed = failed = skipped = 0
    try:
        os.chmod(work, 0o755)
        os.chmod(pool_dir, 0o1777)
        copy = os.path.join(work, "libvmmalloc.so.1" if "vmmalloc" in os.path.basename(library) else os.path.basename(library))
        shutil.copy(library, copy)
        os.chmod(copy, 0o755)
        if not preflight(copy, pool_dir):
            print("note: %s makes no pool in %s" % (library, pool_dir))
        plain = {}  # case function -> result of the plain run, shared between fork modes
        for case in cases:
            reason = reason_to_skip(case)
            if reason:
                skipped += 1
                print("%-30s SKIPPED %s" % (case.name, reason), flush=True)
                continue
            try:
                if case.fn not in plain:
                    plain[case.fn] = run_once(case, work)
                want, before, _ = plain[case.fn]
                pool = dict(pool_dir=pool_dir, library=copy, size=case.size, fork=case.fork)
                got, after, note = run_once(case, work, **pool)
                if want != got and case.fn is python_own_tests:
                    want, got, more = again_alone(case, work, want, got, **pool)
                    note += more
                if want != got:
                    raise Failure("output differs: " + difference(want, got))
                passed += 1
                print("%-30s ok      %6.2f s plain, %6.2f s in a pool%s" % (case.name, before, after, note and "; " + note), flush=True)
            except Skip as e:
                skipped += 1
                print("%-30s SKIPPED %s" % (case.name, e), flush=True)
            except (Failure, OSError, ValueError) as e:
                failed += 1
                where = "in a pool" if case.fn in plain else "without a pool"
                print("%-30s FAILED  %s: %s" % (case.name, where, str(e).replace("\n", "\n    ")), flush=True)
    finally:
        shutil.rmtree(work, ignore_errors=True)
        shutil.rmtree(pool_dir, ignore_errors=True)
    print("%d passed, %d failed" % (passed, failed) + (", %d skipped" % skipped if skipped else ""))
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
