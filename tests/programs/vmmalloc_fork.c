/* vmmalloc_fork.c -- what a program may do around fork: vmmalloc_fork CASE [ARGUMENT...]
 *
 *   c DEPTH THREADS  a tree of processes; in each, threads allocate while others fork; every process's data is its own
 *   e                fork, exec echo
 *   Others: see the table at the end. Exit status 0: all held, in the children too.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(cond)                                                                                            \
	do {                                                                                                   \
		if (!(cond)) {                                                                                 \
			fprintf(stderr, "%s:%d: %s (pid %d, errno %d)\n", __func__, __LINE__, #cond, getpid(), errno); \
			_exit(1);                                                                              \
		}                                                                                              \
	} while (0)

#define KIB ((size_t)1 << 10)

static void
wait_for(pid_t pid)
{
	int status;

	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* --- c: the tree ------------------------------------------------------------------------------------------------ */

enum { BLOCKS = 16 };
static atomic_bool go, stop;

static void
churn(unsigned seed)
{
	unsigned char *blocks[BLOCKS];
	size_t sizes[BLOCKS];

	for (int i = 0; i < BLOCKS; i++) {
		sizes[i] = (size_t)rand_r(&seed) % (i % 4 == 3 ? 100 * KIB : 600) + 1;
		blocks[i] = malloc(sizes[i]);
		CHECK(blocks[i] != NULL);
		memset(blocks[i], i + 1, sizes[i]);
	}
	for (int i = 0; i < BLOCKS; i++) {
		CHECK(blocks[i][0] == i + 1 && blocks[i][sizes[i] - 1] == i + 1);
		free(blocks[i]);
	}
}

static void *
churner(void *arg)
{
	unsigned seed = (unsigned)(uintptr_t)arg;

	while (!atomic_load(&go))
		sched_yield();
	do
		churn(seed++);
	while (!atomic_load(&stop));
	return NULL;
}

static void
tree(int depth, int nthreads)
{
	enum { N = 200 };
	pthread_t threads[64];
	unsigned *mine[N], *parents[N];
	pid_t child = 0;

	for (int i = 0; i < N; i++) {
		parents[i] = malloc(64 + (size_t)i * 37);
		CHECK(parents[i] != NULL);
		*parents[i] = (unsigned)(depth * 1000 + i);
	}
	atomic_store(&go, false);
	atomic_store(&stop, false);
	for (int i = 0; i < nthreads; i++)
		CHECK(pthread_create(&threads[i], NULL, churner, (void *)(uintptr_t)(depth * 100 + i + 1)) == 0);
	atomic_store(&go, true);
	if (depth > 1) {
		child = fork();
		CHECK(child >= 0);
		if (child == 0) {
			for (int i = 0; i < N; i++) {
				CHECK(*parents[i] == (unsigned)(depth * 1000 + i));
				*parents[i] = 7;
				if (i % 2 == 0)
					free(parents[i]);
			}
			tree(depth - 1, nthreads);
			exit(0);
		}
	}
	for (int i = 0; i < N; i++) {
		mine[i] = malloc(100);
		CHECK(mine[i] != NULL);
		*mine[i] = (unsigned)i;
	}
	if (child != 0)
		wait_for(child);
	atomic_store(&stop, true);
	for (int i = 0; i < nthreads; i++)
		CHECK(pthread_join(threads[i], NULL) == 0);
	for (int i = 0; i < N; i++) {
		CHECK(*parents[i] == (unsigned)(depth * 1000 + i) && *mine[i] == (unsigned)i);
		free(parents[i]);
		free(mine[i]);
	}
}

static void
case_c(int argc, char **argv)
{
	CHECK(argc == 2);
	tree(atoi(argv[0]), atoi(argv[1]));
}

static void
case_e(int argc, char **argv)
{
	void *p = malloc(100);
	pid_t pid = fork();

	(void)argc;
	(void)argv;
	CHECK(pid >= 0 && p != NULL);
	if (pid == 0) {
		execlp("echo", "echo", "executed", (char *)NULL);
		_exit(1);
	}
	wait_for(pid);
	free(p);
}

/* --- what is the child's stays the child's ----------------------------------------------------------------------- */

/* Blocks of many sizes, each filled with its number. */
struct load {
	enum { LOAD = 300 } n;
	unsigned char *block[LOAD];
	size_t size[LOAD];
};

static void
load_make(struct load *load, unsigned char tag)
{
	for (int i = 0; i < LOAD; i++) {
		load->size[i] = i % 50 == 0 ? 300 * KIB : (size_t)(i * 97) % (20 * KIB) + 1;
		load->block[i] = malloc(load->size[i]);
		CHECK(load->block[i] != NULL);
		memset(load->block[i], (unsigned char)(i ^ tag), load->size[i]);
	}
}

static void
load_check(const struct load *load, unsigned char tag)
{
	for (int i = 0; i < LOAD; i++) {
		for (size_t j = 0; j < load->size[i]; j++)
			CHECK(load->block[i][j] == (unsigned char)(i ^ tag));
	}
}

static void
load_mark(const struct load *load, unsigned char tag)
{
	for (int i = 0; i < LOAD; i++)
		memset(load->block[i], (unsigned char)(i ^ tag), load->size[i]);
}

static void
load_free(struct load *load)
{
	for (int i = 0; i < LOAD; i++)
		free(load->block[i]);
}

static void
zeroed_check(void)
{
	for (size_t size = 100; size < 3000 * KIB; size *= 3) {
		unsigned char *p = calloc(1, size);

		CHECK(p != NULL);
		for (size_t i = 0; i < size; i++)
			CHECK(p[i] == 0);
		memset(p, 0xff, size);
		free(p);
	}
}

static struct load old, fresh;
static int to_child[2], to_parent[2];

static void
tell(int fd)
{
	CHECK(write(fd, "x", 1) == 1);
}

static void
hear(int fd)
{
	char c;

	CHECK(read(fd, &c, 1) == 1);
}

static void
child_part(int depth)
{
	load_check(&old, 1);
	load_mark(&old, 2);
	load_make(&fresh, 3);
	tell(to_parent[1]);
	hear(to_child[0]);
	load_check(&old, 2);
	load_check(&fresh, 3);
	zeroed_check();
	if (depth > 0) {
		pid_t pid = fork();

		CHECK(pid >= 0);
		if (pid == 0) {
			load_check(&old, 2);
			load_mark(&old, 4);
			load_free(&fresh);
			zeroed_check();
			exit(0);
		}
		wait_for(pid);
		load_check(&old, 2);
	}
	load_free(&fresh);
	load_free(&old);
	zeroed_check();
	exit(0);
}

static void
isolation(void)
{
	load_make(&old, 1);
	load_make(&fresh, 9);
	load_free(&fresh); /* dirty free memory: must not show through calloc on either side */
	CHECK(pipe(to_child) == 0 && pipe(to_parent) == 0);
	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid == 0)
		child_part(1);
	hear(to_parent[0]);
	load_check(&old, 1);
	load_mark(&old, 5);
	load_make(&fresh, 6);
	tell(to_child[1]);
	wait_for(pid);
	load_check(&old, 5);
	load_check(&fresh, 6);
	zeroed_check();
	load_free(&old);
	load_free(&fresh);
}

static void
case_isolation(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	isolation();
}

/* A daemon's habit. */
static void
case_closed(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	for (int fd = 3; fd < 4096; fd++)
		close(fd);
	isolation();
}

/* The number is another file's by the time of the fork. */
static void
case_reused(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	for (int fd = 3; fd < 4096; fd++)
		close(fd);
	char text[8192];
	memset(text, 0x55, sizeof(text));
	for (int fd = 3; fd < 1024; fd++) {
		int made = memfd_create("other", 0);

		CHECK(made >= 0 && write(made, text, sizeof(text)) == (ssize_t)sizeof(text));
	}
	for (int fd = 3; fd < 20; fd++)
		close(fd);
	isolation();
	char back[8192];
	for (int fd = 20; fd < 1024; fd++)
		CHECK(pread(fd, back, sizeof(back), 0) == (ssize_t)sizeof(back) && memcmp(text, back, sizeof(back)) == 0);
}

/* The pool's directory was given relative to where the program started. */
static void
case_chdir(int argc, char **argv)
{
	CHECK(argc == 1 && chdir(argv[0]) == 0);
	isolation();
}

/* Far more forks than anything could leak descriptors or mappings for. */
static void
case_many(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	load_make(&old, 1);
	for (int i = 0; i < 300; i++) {
		pid_t pid = fork();

		CHECK(pid >= 0);
		if (pid == 0) {
			free(old.block[i % LOAD]);
			CHECK(malloc(100) != NULL);
			_exit(0);
		}
		wait_for(pid);
	}
	load_check(&old, 1);
	load_free(&old);
	int n = 0;
	DIR *d = opendir("/proc/self/fd");
	CHECK(d != NULL);
	while (readdir(d) != NULL)
		n++;
	closedir(d);
	CHECK(n < 12);
}

/* Many threads fork at once, others allocate. */
static void *
forker(void *arg)
{
	(void)arg;
	for (int i = 0; i < 15; i++) {
		pid_t pid = fork();

		CHECK(pid >= 0);
		if (pid == 0) {
			churn(1);
			_exit(0);
		}
		wait_for(pid);
		churn((unsigned)i);
	}
	return NULL;
}

static void
case_forkers(int argc, char **argv)
{
	pthread_t threads[8];

	(void)argc;
	(void)argv;
	atomic_store(&go, true);
	for (int i = 0; i < 8; i++)
		CHECK(pthread_create(&threads[i], NULL, i < 4 ? forker : churner, (void *)(uintptr_t)(i + 1)) == 0);
	for (int i = 0; i < 4; i++)
		CHECK(pthread_join(threads[i], NULL) == 0);
	atomic_store(&stop, true);
	for (int i = 4; i < 8; i++)
		CHECK(pthread_join(threads[i], NULL) == 0);
}

/* Handlers of the program run outside ours; those that were there before us, inside. Both allocate. */
static void *held_over;

static void
allocating_handler(void)
{
	void *p = malloc(3000), *q = calloc(1, 40);

	CHECK(p != NULL && q != NULL);
	q = realloc(q, 5000);
	CHECK(q != NULL);
	held_over = realloc(held_over, 200);
	CHECK(held_over != NULL);
	free(p);
	free(q);
}

static void
case_handlers(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	CHECK(pthread_atfork(allocating_handler, allocating_handler, allocating_handler) == 0);
	held_over = malloc(10);
	for (int i = 0; i < 5; i++)
		isolation();
	free(held_over);
}

/* Free memory is holes in a clone: the copy costs what is in use, not the pool's size. */
static void
case_clone_size(int argc, char **argv)
{
	static char *big[64];
	struct stat st;
	char path[64];

	(void)argc;
	(void)argv;
	for (int i = 0; i < 64; i++) {
		big[i] = malloc(1024 * KIB);
		CHECK(big[i] != NULL);
		memset(big[i], 1, 1024 * KIB);
	}
	for (int i = 0; i < 64; i++)
		free(big[i]);
	void *p = malloc(100);
	pid_t pid = fork();
	CHECK(pid >= 0 && p != NULL);
	if (pid == 0) {
		DIR *d = opendir("/proc/self/fd");
		struct dirent *e;
		long blocks = -1;

		CHECK(d != NULL);
		while ((e = readdir(d)) != NULL) {
			snprintf(path, sizeof(path), "/proc/self/fd/%.20s", e->d_name);
			if (stat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_size >= (off_t)(16384 * KIB))
				blocks = (long)st.st_blocks;
		}
		closedir(d);
		CHECK(blocks >= 0 && blocks < 8 * 2048); /* of 512 bytes: 8 MiB */
		_exit(0);
	}
	wait_for(pid);
	free(p);
}

/* fork fails by itself only when the system is short; errno and success are the program's business. */
static void
case_errno(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	errno = EXDEV;
	pid_t pid = fork();
	CHECK(errno == EXDEV && pid >= 0);
	if (pid == 0)
		_exit(0);
	wait_for(pid);
}

/* A cancellation that is pending does not end the thread inside the handlers, with all locks held. */
static void *
fork_cancelled(void *unused)
{
	(void)unused;
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
	CHECK(pthread_cancel(pthread_self()) == 0);
	pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
	pid_t pid = fork();
	int state;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	CHECK(pid >= 0 && state == PTHREAD_CANCEL_ENABLE);
	if (pid == 0) {
		free(malloc(5000));
		_exit(0);
	}
	wait_for(pid);
	return &go;
}

static void
case_cancelled(int argc, char **argv)
{
	pthread_t thread;
	void *result;

	(void)argc;
	(void)argv;
	CHECK(pthread_create(&thread, NULL, fork_cancelled, NULL) == 0);
	CHECK(pthread_join(thread, &result) == 0 && result == &go);
	isolation();
}

static const struct {
	const char *name;
	void (*run)(int argc, char **argv);
} cases[] = {
	{ "c", case_c },
	{ "e", case_e },
	{ "isolation", case_isolation },
	{ "closed", case_closed },
	{ "reused", case_reused },
	{ "chdir", case_chdir },
	{ "many", case_many },
	{ "forkers", case_forkers },
	{ "handlers", case_handlers },
	{ "clone_size", case_clone_size },
	{ "errno", case_errno },
	{ "cancelled", case_cancelled },
};

int
main(int argc, char **argv)
{
	for (size_t i = 0; argc >= 2 && i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (strcmp(argv[1], cases[i].name) == 0) {
			cases[i].run(argc - 2, argv + 2);
			return 0;
		}
	}
	fprintf(stderr, "no such case\n");
	return 2;
}
