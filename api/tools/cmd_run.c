/* cmd_run.c -- pmheap run: a program with its heap in a pool
 *
 * Owns:   the choice of directory, size and library; then the process is the program's.
 * Rules:  R1  what the program would only say by aborting in its first moment (no directory, no room, a size that is
 *             none) is said here, in words.
 *         R2  the environment is the interface: what this sets, a person may set by hand (libvmmalloc(7)).
 * Media:  none; the program's libvmmalloc makes the pool.
 * Fails:  as env(1): 125 here, 126 the program cannot be executed, 127 it is not found.
 */
#define _GNU_SOURCE
#include "api/tools/pmheap.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "api/common/error.h"
#include "api/common/file.h"
#include "api/common/parse.h"
#include "api/include/libvmmalloc.h"

#define LIBRARY "libvmmalloc.so.1"
#define MIB (1ull << 20)
#define GIB (1ull << 30)
#define DEFAULT_MAX (64 * GIB) /* a pool costs only what is used of it, but more is asked for by mistake at most */

static const char usage[] =
	"usage: pmheap run [-d DIR] [-s SIZE] [--fork MODE] [--] PROGRAM [ARGUMENT...]\n\n"
	"Runs PROGRAM with every block of its heap in a pool, an unnamed file that goes when the process ends.\n\n"
	"  -d, --dir DIR    where the file is made [/dev/shm; $TMPDIR or /tmp when that is not writable]\n"
	"  -s, --size SIZE  bytes at most, or with K, M, G, T; at least 14M [half of what is free in DIR, 64G at "
	"most]\n"
	"      --fork MODE  what a forked child gets: private (memory of its own; so does the parent) [this one],\n"
	"                   clone (a copy of the pool), clone-or-private (private when there is no room), or share\n"
	"                   (nothing: for programs that only fork to exec); or their numbers 1, 2, 3, 0\n"
	"  -h, --help       this text\n\n"
	"Programs that PROGRAM starts get pools of their own. Exit status: the program's; 125 when pmheap fails, 126 "
	"when\n"
	"PROGRAM cannot be executed, 127 when it is not found. PMHEAP_LIBDIR: where " LIBRARY " is.\n";

struct run_options {
	const char *dir;  /* NULL: choose */
	const char *size; /* NULL: choose */
	const char *fork; /* "0".."3"; NULL: as the environment says */
};

/* --- options --------------------------------------------------------------------------------------------------- */

static const char *
fork_number(const char *mode)
{
	static const char *const names[] = {"share", "private", "clone", "clone-or-private"};
	static const char *const numbers[] = {"0", "1", "2", "3"};

	for (size_t i = 0; i < 4; i++) {
		if (strcmp(mode, names[i]) == 0 || strcmp(mode, numbers[i]) == 0)
			return numbers[i];
	}
	return NULL;
}

/* -1: go on, optind at the program; else the exit status. */
static int
parse_options(int argc, char **argv, struct run_options *options)
{
	static const struct option known[] = {
		{"dir", required_argument, NULL, 'd'},
		{"size", required_argument, NULL, 's'},
		{"fork", required_argument, NULL, 'f'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	int c;

	opterr = 0;
	while ((c = getopt_long(argc, argv, "+:d:s:h", known, NULL)) != -1) {
		switch (c) {
		case 'd':
			options->dir = optarg;
			break;
		case 's':
			options->size = optarg;
			break;
		case 'f':
			options->fork = fork_number(optarg);
			if (options->fork == NULL) {
				complain("run: no such fork mode '%s' (private, clone, clone-or-private or share)",
					 optarg);
				return TOOL_FAILED;
			}
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			complain_of_option("run", "+:d:s:h", c, argv);
			return TOOL_FAILED;
		}
	}
	if (optind == argc) {
		complain("run: no program given (see pmheap run --help)");
		return TOOL_FAILED;
	}
	return -1;
}

/* --- where the pool goes ---------------------------------------------------------------------------------------- */

/* 0 or an errno value. */
static int
dir_error(const char *dir)
{
	struct stat st;

	if (stat(dir, &st) != 0)
		return errno;
	if (!S_ISDIR(st.st_mode))
		return ENOTDIR;
	return access(dir, W_OK | X_OK) != 0 ? errno : 0;
}

static const char *
default_dir(void)
{
	const char *tmpdir = getenv("TMPDIR");

	if (dir_error("/dev/shm") == 0)
		return "/dev/shm";
	return tmpdir != NULL && tmpdir[0] != '\0' && dir_error(tmpdir) == 0 ? tmpdir : "/tmp";
}

/* False: the file system does not say. */
static bool
free_space(const char *dir, unsigned long long *bytes)
{
	struct statvfs vfs;

	if (statvfs(dir, &vfs) != 0 || vfs.f_blocks == 0)
		return false;
	*bytes = (unsigned long long)vfs.f_bavail * vfs.f_frsize;
	return true;
}

/* Pool size in bytes; 0: none was possible, and it was said. */
static unsigned long long
choose_size(const char *text, const char *dir)
{
	unsigned long long space = 0, size;
	bool known = free_space(dir, &space);
	long long wanted;

	if (text != NULL) {
		if (!parse_size(text, &wanted) || wanted <= 0 || wanted == PARSE_HUGE) {
			complain("run: bad size '%s': a number of bytes, or with K, M, G or T behind it", text);
			return 0;
		}
		size = (unsigned long long)wanted;
		if (size < VMMALLOC_MIN_POOL) {
			complain("run: size '%s' is too small: a pool has at least %lluM", text,
				 VMMALLOC_MIN_POOL / MIB);
			return 0;
		}
	} else {
		size = !known ? GIB : space / 2 > DEFAULT_MAX ? DEFAULT_MAX : space / 2;
		size = size / MIB * MIB;
		if (size < VMMALLOC_MIN_POOL)
			size = VMMALLOC_MIN_POOL;
	}
	if (known && size > space) {
		complain("run: a pool of %lluM does not fit: %lluM are free in %s", size / MIB, space / MIB, dir);
		return 0;
	}
	return size;
}

/* Some file systems hold no files of ours (proc(5)), some users may not make files so large (setrlimit(2)): made here for a
 * moment, as the program will make it. False, and said: it cannot be. */
static bool
try_pool(const char *dir, unsigned long long size)
{
	void (*handler)(int) = signal(SIGXFSZ, SIG_IGN); /* too large a file is an error here, and not the end */
	struct pool_file file;
	int error = pool_file_create(dir, size, &file);

	signal(SIGXFSZ, handler);
	if (error != 0)
		complain("run: cannot make a pool in '%s': %s", dir, error_get());
	else
		pool_file_delete(&file);
	return error == 0;
}

/* --- the library ------------------------------------------------------------------------------------------------ */

/* LIBRARY's absolute path in `path`. False, and said: it is not where it should be. */
static bool
find_library(char path[PATH_MAX])
{
	const char *folder = getenv("PMHEAP_LIBDIR");
	char place[PATH_MAX + sizeof("/../lib/" LIBRARY)], self[PATH_MAX];

	if (folder != NULL && folder[0] != '\0') {
		if (snprintf(place, sizeof(place), "%s/%s", folder, LIBRARY) >= (int)sizeof(place)) {
			complain("run: PMHEAP_LIBDIR=%.40s...: %s", folder, strerror(ENAMETOOLONG));
			return false;
		}
	} else {
		ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

		if (n < 0) {
			complain("run: cannot tell where pmheap is (set PMHEAP_LIBDIR): %s", strerror(errno));
			return false;
		}
		self[n] = '\0';
		*strrchr(self, '/') = '\0';
		snprintf(place, sizeof(place), "%s/../lib/%s", self, LIBRARY);
	}
	/* The folder's links are resolved, the library's own are not: its name is what people look for. */
	char *base = strrchr(place, '/');
	if (access(place, R_OK) != 0) {
		complain("run: cannot read %s: %s", place, strerror(errno));
		return false;
	}
	*base = '\0';
	bool resolved = realpath(place, path) != NULL;
	if (!resolved || strlen(path) + sizeof("/" LIBRARY) > PATH_MAX) {
		complain("run: %s: %s", place, strerror(resolved ? ENAMETOOLONG : errno));
		return false;
	}
	strcat(path, "/" LIBRARY);
	if (strpbrk(path, ": \t\n") != NULL) {
		complain("run: %s: the dynamic linker takes no path with blanks or colons (set PMHEAP_LIBDIR)", path);
		return false;
	}
	return true;
}

/* --- the program ------------------------------------------------------------------------------------------------ */

/* Path of the file that execvp(3) will take; false: none that can be executed. */
static bool
find_program(const char *name, char path[PATH_MAX])
{
	const char *search = getenv("PATH");

	if (strchr(name, '/') != NULL)
		return snprintf(path, PATH_MAX, "%s", name) < PATH_MAX && access(path, X_OK) == 0;
	for (const char *s = search != NULL ? search : "/bin:/usr/bin"; *s != '\0';) {
		size_t n = strcspn(s, ":");
		struct stat st;

		if (snprintf(path, PATH_MAX, "%.*s%s%s", (int)n, s, n != 0 ? "/" : "", name) < PATH_MAX &&
		    stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0)
			return true;
		s += n + (s[n] == ':');
	}
	return false;
}

/* A program that runs with rights its caller has not takes nothing from the caller's environment. */
static void
warn_of_setuid(const char *name)
{
	char path[PATH_MAX];
	struct stat st;

	if (!find_program(name, path) || stat(path, &st) != 0)
		return;
	if (((st.st_mode & S_ISUID) != 0 && st.st_uid != geteuid()) ||
	    ((st.st_mode & S_ISGID) != 0 && st.st_gid != getegid()))
		complain("run: warning: %s is setuid or setgid: the system starts it without the pool", path);
}

static bool
set_environment(const struct run_options *options, const char *dir, unsigned long long size, const char *library)
{
	const char *others = getenv("LD_PRELOAD");
	char number[32], *preload = NULL;
	bool done;

	snprintf(number, sizeof(number), "%llu", size);
	if (others != NULL && others[0] != '\0') {
		if (asprintf(&preload, "%s:%s", library, others) < 0)
			preload = NULL;
	} else {
		preload = strdup(library);
	}
	done = preload != NULL && setenv("LD_PRELOAD", preload, 1) == 0 && setenv("VMMALLOC_POOL_DIR", dir, 1) == 0 &&
		setenv("VMMALLOC_POOL_SIZE", number, 1) == 0 &&
		(options->fork == NULL || setenv("VMMALLOC_FORK", options->fork, 1) == 0);
	free(preload);
	return done;
}

static int
run(int argc, char **argv)
{
	struct run_options options = {NULL, NULL, NULL};
	char library[PATH_MAX];
	int status = parse_options(argc, argv, &options);

	if (status >= 0)
		return status;
	const char *wanted = options.dir != NULL ? options.dir : default_dir();
	int error = dir_error(wanted);
	char dir[PATH_MAX];
	/* Absolute: the programs that PROGRAM starts may be somewhere else. */
	if (error == 0 && realpath(wanted, dir) == NULL)
		error = errno;
	if (error != 0) {
		complain("run: cannot make a pool in '%s': %s", wanted, strerror(error));
		return TOOL_FAILED;
	}
	unsigned long long size = choose_size(options.size, dir);
	if (size == 0 || !find_library(library) || !try_pool(dir, size))
		return TOOL_FAILED;
	if (!set_environment(&options, dir, size, library)) {
		complain("run: cannot set the environment: %s", strerror(errno));
		return TOOL_FAILED;
	}
	warn_of_setuid(argv[optind]);
	execvp(argv[optind], argv + optind);
	error = errno;
	complain("run: cannot run '%s': %s", argv[optind], strerror(error));
	return error == ENOENT ? TOOL_NOT_FOUND : TOOL_CANNOT_EXECUTE;
}

const struct command command_run = {"run", "runs a program with its heap in a pool", run};
