/* error.c -- the message behind vmem_errormsg() and its sisters
 *
 * Owns:   per thread a pointer in thread-local storage and, from the first message on, ERROR_SIZE bytes of memory.
 * Rules:  M1  the buffer is mapped at the first message and unmapped when its thread ends. It does not lie in
 *             thread-local storage itself: that would take 8 KiB from the stack of every thread of every program
 *             (glibc carves it out of the stack), and a library opened by dlopen() could not have it.
 *         M2  errno is the same before and after.
 * Locks:  none; the buffer is its thread's alone.
 * Media:  process only.
 * Fails:  without memory for the buffer the thread's message is one constant text.
 */
#include "api/common/error.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include "api/common/format.h"
#include "api/common/log.h"
#include "api/common/os.h"

static _Thread_local char *message __attribute__((tls_model("initial-exec")));
static char no_room[] = "no memory for the message";
static pthread_key_t key;
static bool have_key; /* constant after the constructor */

static void
release(void *buffer)
{
	message = NULL;
	sys_unmap(buffer, ERROR_SIZE);
}

__attribute__((constructor)) static void
error_init(void)
{
	have_key = pthread_key_create(&key, release) == 0;
}

static char *
buffer(void)
{
	if (message != NULL && message != no_room)
		return message;

	char *p = sys_map_memory(ERROR_SIZE);

	if (p != NULL && have_key && pthread_setspecific(key, p) != 0) {
		sys_unmap(p, ERROR_SIZE);
		p = NULL;
	}
	message = p != NULL ? p : no_room;
	return p;
}

const char *
error_get(void)
{
	return message != NULL ? message : "";
}

void
error_report(int with_errno, const char *file, int line, const char *func, const char *fmt, ...)
{
	int error = errno;
	char *text = buffer(), reason[64];
	size_t n = 0;
	va_list ap;

	if (text != NULL) {
		va_start(ap, fmt);
		n = (size_t)format_v(text, ERROR_SIZE, fmt, ap);
		va_end(ap);
		if (with_errno && n < ERROR_SIZE)
			format(text + n, ERROR_SIZE - n, ": %s", sys_error_text(error, reason, sizeof(reason)));
	}
#ifdef PMHEAP_DEBUG
	log_line(1, file, line, func, "%s", error_get());
#else
	(void)file;
	(void)line;
	(void)func;
#endif
	errno = error;
}
