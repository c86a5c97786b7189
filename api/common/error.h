/* error.h -- the message behind vmem_errormsg() and its sisters
 *
 * Owns:   one buffer of ERROR_SIZE bytes per thread and library, mapped at the thread's first message; no malloc.
 * Rules:  only api/ sets errno and messages, and only on failure. A message names the value at fault.
 * Media:  process only.
 */
#ifndef API_COMMON_ERROR_H
#define API_COMMON_ERROR_H

#define ERROR_SIZE 8192

/* The calling thread's last message; "" before the first. Never NULL, never cleared. */
const char *error_get(void);

/* Formats a message (own formatter, api/common/format.h) and logs it at level 1 in debug builds. errno is kept. */
#define ERROR(...) error_report(0, __FILE__, __LINE__, __func__, __VA_ARGS__)
/* The same with ": " and strerror(errno) behind it. */
#define ERROR_ERRNO(...) error_report(1, __FILE__, __LINE__, __func__, __VA_ARGS__)

void error_report(int with_errno, const char *file, int line, const char *func, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));

#endif
