/* log.c -- trace lines of the debug builds, in the grammar that the published libraries use
 *
 * Owns:   name, level, log file and print function of this library.
 * Rules:  L1  one line is one call of the print function, or one write(2): lines of threads do not mix.
 *         L2  a line has at most LINE_SIZE bytes with its newline; what is longer is cut.
 *         L3  errno is the same before and after.
 *         L4  nothing allocates: libvmmalloc traces malloc itself.
 * Locks:  none: all but the print function is constant after log_init; that one is atomic.
 * Media:  process only.
 * Fails:  a log file that cannot be opened ends the process, as in the published libraries; a failed write loses
 *         the line.
 */
#define _GNU_SOURCE
#include "api/common/log.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "api/common/format.h"
#include "api/common/os.h"

#define LINE_SIZE 8192

static const char *name = "pmheap"; /* of messages before log_init: constructors of others may call us first */
static int log_fd = 2;
static void (*_Atomic print_func)(const char *line); /* NULL: log_fd */

#ifdef PMHEAP_DEBUG
static int level_max;
static size_t prefix_columns; /* PMDK_LOG_ALIGN */

static long
parse_decimal(const char *text)
{
	return text != NULL ? strtol(text, NULL, 10) : 0;
}

static void
open_file(const struct log_library *lib, const char *wanted)
{
	char path[PATH_MAX + 16], reason[64];
	size_t n = strlen(wanted);
	int fd, error;

	if (n >= PATH_MAX) { /* with the number behind it the path is longer than any file's */
		fd = -1;
		error = ENAMETOOLONG;
	} else {
		if (wanted[n - 1] == '-')
			format(path, sizeof(path), "%s%d", wanted, sys_pid());
		else
			format(path, sizeof(path), "%s", wanted);
		fd = sys_open_log(path);
		error = errno;
		wanted = path;
	}
	if (fd < 0)
		log_fatal("%s=%s: %s", lib->env_file, wanted, sys_error_text(error, reason, sizeof(reason)));
	log_fd = fd;
}

void
log_init(const struct log_library *lib)
{
	const char *file = secure_getenv(lib->env_file);
	long level = parse_decimal(secure_getenv(lib->env_level)), columns = parse_decimal(secure_getenv("PMDK_LOG_ALIGN"));
	char path[PATH_MAX];
	int error = errno;

	name = lib->name;
	level_max = level < 0 ? 0 : level > INT_MAX ? INT_MAX : (int)level;
	prefix_columns = columns <= 0 ? 0 : columns > LINE_SIZE / 2 ? LINE_SIZE / 2 : (size_t)columns;
	if (file != NULL && file[0] != '\0')
		open_file(lib, file);

	sys_program_path(path, sizeof(path));
	/* programs look for these lines under this file's and this function's name */
	log_line(1, "out.c", __LINE__, "out_init", "pid %d: program: %s", sys_pid(), path);
	log_line(1, "out.c", __LINE__, "out_init", "%s version %d.%d", lib->name, lib->major, lib->minor);
	log_line(1, "out.c", __LINE__, "out_init", "src version: pmheap %d.%d", lib->major, lib->minor);
	errno = error;
}

void
log_line(int level, const char *file, int line, const char *func, const char *fmt, ...)
{
	if (level > level_max)
		return;

	int error = errno;
	char text[LINE_SIZE];
	const char *base = strrchr(file, '/');
	size_t n;
	va_list ap;

	n = (size_t)format(text, sizeof(text), "<%s>: <%d> [%s:%d %s] ", name, level, base != NULL ? base + 1 : file,
	    line, func);
	while (n < prefix_columns)
		text[n++] = ' ';
	va_start(ap, fmt);
	n += (size_t)format_v(text + n, sizeof(text) - n, fmt, ap);
	va_end(ap);
	if (n > sizeof(text) - 2)
		n = sizeof(text) - 2;
	text[n] = '\n';
	text[n + 1] = '\0';
	log_print(text);
	errno = error;
}

void
log_fini(void)
{
	if (log_fd != 2)
		sys_close(log_fd);
	log_fd = 2;
	level_max = 0; /* what comes after the library's end goes nowhere: the descriptor may be another's by then */
}
#else
void
log_init(const struct log_library *lib)
{
	name = lib->name;
}

void
log_fini(void)
{
}
#endif

void
log_set_print(void (*print)(const char *line))
{
	atomic_store_explicit(&print_func, print, memory_order_release);
}

void
log_print(const char *text)
{
	void (*print)(const char *) = atomic_load_explicit(&print_func, memory_order_acquire);

	if (print != NULL)
		print(text);
	else
		sys_write_all(log_fd, text, strlen(text));
}

void
log_fatal(const char *fmt, ...)
{
	char text[LINE_SIZE];
	size_t n = (size_t)format(text, sizeof(text), "Error (%s): ", name);
	va_list ap;

	va_start(ap, fmt);
	n += (size_t)format_v(text + n, sizeof(text) - n, fmt, ap);
	va_end(ap);
	if (n > sizeof(text) - 2)
		n = sizeof(text) - 2;
	text[n++] = '\n';
	sys_write_all(log_fd, text, n);
	abort();
}
