/* fault_state.h -- what a failed call must leave as it was: descriptors, mappings, files; and the run over all calls
 *
 * The state is text: one line per descriptor, per mapping of a file, per file in the test's folder, and the bytes of nameless
 * memory that are mapped. Two states that differ are shown. Nothing here allocates, and the files' pages that were
 * never written are not read: looking changes nothing.
 */
#ifndef TESTS_FAULT_STATE_H
#define TESTS_FAULT_STATE_H

#include <criterion/criterion.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/fault_calls.h"

struct fault_state {
	char files[4096]; /* of the folder: name, mode, size, content */
	char fds[4096];
	char maps[8192];  /* of files that are no library's */
	size_t anonymous; /* bytes, without the heap of malloc(3) and the stacks */
	bool fits;
};

/* FNV-1a over what was written to the first `size` bytes of a file. */
static inline uint64_t
fault_hash(int fd, off_t size)
{
	static unsigned char buffer[1 << 16];
	uint64_t hash = UINT64_C(0xcbf29ce484222325), word;
	off_t at = 0, end;
	ssize_t n;

	while ((at = lseek(fd, at, SEEK_DATA)) >= 0 && at < size) {
		end = lseek(fd, at, SEEK_HOLE);
		end = end < size ? end : size;
		for (; at < end; at += n) {
			bool zero = true;

			n = pread(fd, buffer, end - at < (off_t)sizeof(buffer) ? (size_t)(end - at) : sizeof(buffer),
				  at);
			if (n <= 0)
				return 0;
			memset(buffer + n, 0, sizeof(buffer) - (size_t)n);
			for (size_t i = 0; i < (size_t)n && zero; i++)
				zero = buffer[i] == 0;
			if (zero) /* as good as a hole */
				continue;
			hash = (hash ^ (uint64_t)at) * UINT64_C(0x100000001b3);
			for (size_t i = 0; i + 8 <= sizeof(buffer); i += 8) {
				memcpy(&word, buffer + i, 8);
				hash = (hash ^ word) * UINT64_C(0x100000001b3);
			}
		}
	}
	return hash;
}

static inline void
fault_add(struct fault_state *s, char *text, size_t size, const char *line)
{
	s->fits = s->fits && strlen(text) + strlen(line) + 2 < size;
	if (s->fits)
		strcat(strcat(text, line), "\n");
}

/* `content`: bytes at the start of each file that count. */
static inline void
fault_state_take(struct fault_state *s, const char *folder, off_t content)
{
	char path[1200], line[1600], target[512];
	struct dirent *entry;
	struct stat st;
	ssize_t n;
	DIR *dir;

	memset(s, 0, sizeof(*s));
	s->fits = true;
	dir = opendir(folder);
	cr_assert_not_null(dir, "%s: %s", folder, strerror(errno));
	while ((entry = readdir(dir)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		cr_assert(fd >= 0 && fstat(fd, &st) == 0, "%s: %s", path, strerror(errno));
		snprintf(line, sizeof(line), "%s mode %o size %lld content %016llx", entry->d_name,
			 (unsigned)st.st_mode, (long long)(S_ISREG(st.st_mode) ? st.st_size : 0),
			 (unsigned long long)(S_ISREG(st.st_mode) ? fault_hash(fd, content) : 0));
		close(fd);
		fault_add(s, s->files, sizeof(s->files), line);
	}
	closedir(dir);

	dir = opendir("/proc/self/fd");
	cr_assert_not_null(dir);
	while ((entry = readdir(dir)) != NULL) {
		if (entry->d_name[0] == '.' || atoi(entry->d_name) == dirfd(dir))
			continue;
		snprintf(path, sizeof(path), "/proc/self/fd/%s", entry->d_name);
		n = readlink(path, target, sizeof(target) - 1);
		target[n < 0 ? 0 : n] = '\0';
		snprintf(line, sizeof(line), "%s -> %s", entry->d_name, target);
		fault_add(s, s->fds, sizeof(s->fds), line);
	}
	closedir(dir);

	/* not through stdio: its buffer is a mapping on some systems */
	static char maps[1 << 18];
	size_t have = 0;
	int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	while ((n = read(fd, maps + have, sizeof(maps) - 1 - have)) > 0)
		have += (size_t)n;
	close(fd);
	maps[have] = '\0';
	for (char *at = maps, *end; *at != '\0'; at = end + 1) {
		unsigned long from, to;
		const char *name;

		end = strchr(at, '\n');
		*end = '\0';
		cr_assert_eq(sscanf(at, "%lx-%lx", &from, &to), 2);
		name = strchr(at, '/');
		if (name == NULL) {
			if (strchr(at, '[') == NULL)
				s->anonymous += to - from;
		} else if (strncmp(name, folder, strlen(folder)) == 0) {
			fault_add(s, s->maps, sizeof(s->maps), at);
		}
	}
	cr_assert(s->fits && have < sizeof(maps) - 1, "room for the texts");
}

/* Ends the mappings of the folder's files that a munmap(2) which was made to fail has left. */
static inline void
fault_unmap_left(const char *folder)
{
	char line[1600];
	FILE *maps = fopen("/proc/self/maps", "r");

	cr_assert_not_null(maps);
	while (fgets(line, sizeof(line), maps) != NULL) {
		uintptr_t from, to;

		if (strstr(line, folder) != NULL && sscanf(line, "%" SCNxPTR "-%" SCNxPTR, &from, &to) == 2)
			munmap((void *)from, to - from);
	}
	fclose(maps);
}

/* `memory`: also nameless memory and mappings. */
static inline void
fault_state_compare(const struct fault_state *before, const struct fault_state *after, bool memory, const char *when)
{
	cr_expect_str_eq(after->files, before->files, "%s: files were\n%sand are\n%s", when, before->files,
			 after->files);
	cr_expect_str_eq(after->fds, before->fds, "%s: descriptors were\n%sand are\n%s", when, before->fds, after->fds);
	if (!memory)
		return;
	cr_expect_str_eq(after->maps, before->maps, "%s: mappings were\n%sand are\n%s", when, before->maps,
			 after->maps);
	cr_expect_eq(after->anonymous, before->anonymous, "%s: %zu bytes of memory were mapped, %zu are", when,
		     before->anonymous, after->anonymous);
}

/* A call that is made to fail at each of its system calls. */
struct fault_scenario {
	const char *name;
	const char *folder;            /* of the files that are looked at */
	void (*prepare)(void);         /* NULL: nothing. What it leaves is the state to come back to */
	bool (*call)(void);            /* false: it failed, with errno and message */
	void (*after)(bool succeeded); /* undoes what a success did; looks whether the next call works */
	const char *(*message)(void);  /* NULL: the call has none */
	void (*forget_message)(void);  /* sets another one */
	bool front_only;               /* behind the first page a file that was there may have changed */
	bool plain_message;            /* the message does not end in the system's words */
	int also;                      /* an errno value that may stand for that of the system call; 0: none */
	const char *may_fail;          /* names of calls, each with a blank behind it, without which a success is one */
};

/* Fault points that were tried by this process. */
static unsigned fault_points;

static inline void
fault_run(const struct fault_scenario *sc)
{
	static struct fault_state before, after;
	const char *failed = "";
	unsigned failures = 0, tolerated = 0;
	char when[256], word[64];
	int error, injected;

	for (int n = -1; failed != NULL || n <= 0; n++) { /* the first round fails nothing: what is made once is made */
		bool ok;

		if (sc->prepare != NULL)
			sc->prepare();
		if (sc->forget_message != NULL)
			sc->forget_message();
		fault_state_take(&before, sc->folder, sc->front_only ? 4096 : INT64_MAX);
		errno = 0;
		fault_arm(n);
		ok = sc->call();
		error = errno;
		failed = fault_disarm(&injected);
		snprintf(when, sizeof(when), "%s, call %d: %s", sc->name, n, failed != NULL ? failed : "none");
		cr_assert(failed != NULL || ok, "%s: failed by itself: %s, %s", when, strerror(error),
			  sc->message != NULL ? sc->message() : "");
		if (failed != NULL) {
			fault_points++;
			failures += !ok;
			tolerated += ok;
		}
		if (!ok) {
			cr_expect(error == injected || (sc->also != 0 && error == sc->also), "%s: errno %d, not %d: %s",
				  when, error, injected, sc->message != NULL ? sc->message() : "");
			if (sc->message != NULL && sc->plain_message)
				cr_expect_null(strstr(sc->message(), "need 77"), "%s: no message", when);
			else if (sc->message != NULL)
				cr_expect_not_null(strstr(sc->message(), strerror(error)), "%s: message \"%s\"", when,
						   sc->message());
			fault_state_take(&after, sc->folder, sc->front_only ? 4096 : INT64_MAX);
			/* what could not be unmapped is still there */
			fault_state_compare(&before, &after, strcmp(failed, "munmap") != 0, when);
		} else if (failed != NULL) {
			snprintf(word, sizeof(word), "%s ", failed);
			cr_expect(sc->may_fail != NULL && strstr(sc->may_fail, word) != NULL, "%s: nobody was told",
				  when);
		}
		if (sc->after != NULL)
			sc->after(ok);
	}
	fprintf(stderr, "%s: %u fault points: %u reported, %u without harm\n", sc->name, failures + tolerated, failures,
		tolerated);
}

#endif
