/* format.h -- printf into a buffer without malloc, locale or floating point
 *
 * Knows %% %c %s %.*s %.Ns %d %i %u %x %X %p with width, '0' and '-' flags and the lengths hh h l ll z t j. NULL
 * prints as "0x0" for %p and "(null)" for %s. Returns the length that the whole text has; writes at most `size` bytes
 * with the 0.
 * Safe in a signal handler and before any constructor.
 */
#ifndef API_COMMON_FORMAT_H
#define API_COMMON_FORMAT_H

#include <stdarg.h>
#include <stddef.h>

int format(char *buf, size_t size, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
int format_v(char *buf, size_t size, const char *fmt, va_list ap) __attribute__((format(printf, 3, 0)));

#endif
