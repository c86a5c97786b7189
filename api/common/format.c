/* format.c -- printf into a buffer without malloc, locale or floating point
 *
 * Owns:   nothing; every call works on the caller's buffer and its own stack.
 * Rules:  F1  the text is cut at size - 1 bytes, always ended by a 0 when size > 0; the length is that of the
 *             whole text, as snprintf(3) gives it.
 *         F2  a conversion that is not known is copied as it stands: a message is never lost for a typing error.
 * Locks:  none.
 * Media:  none.
 * Fails:  never.
 *
 * Why not snprintf: glibc's takes locale locks and may allocate; traces of malloc and messages of constructors
 * that run before libc's own cannot have either.
 */
#include "api/common/format.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

struct out {
	char *buf;
	size_t size, len;
};

struct spec {
	bool zero, left, precise;
	size_t width, precision;
};

static void
put(struct out *out, char c)
{
	if (out->len + 1 < out->size)
		out->buf[out->len] = c;
	out->len++;
}

static void
put_padded(struct out *out, const struct spec *spec, const char *text, size_t n)
{
	size_t pad = spec->width > n ? spec->width - n : 0;

	if (!spec->left)
		for (; pad != 0; pad--)
			put(out, ' ');
	for (size_t i = 0; i < n; i++)
		put(out, text[i]);
	for (; pad != 0; pad--)
		put(out, ' ');
}

static void
put_number(struct out *out, const struct spec *spec, uintmax_t value, unsigned base, bool upper, const char *prefix)
{
	char digits[sizeof(uintmax_t) * 3];
	size_t n = 0, nprefix = strlen(prefix);

	do {
		digits[n++] = (upper ? "0123456789ABCDEF" : "0123456789abcdef")[value % base];
		value /= base;
	} while (value != 0);

	size_t total = nprefix + n, pad = spec->width > total ? spec->width - total : 0;
	bool zeros = spec->zero && !spec->left;

	if (!zeros && !spec->left)
		for (; pad != 0; pad--)
			put(out, ' ');
	for (size_t i = 0; i < nprefix; i++)
		put(out, prefix[i]);
	if (zeros)
		for (; pad != 0; pad--)
			put(out, '0');
	while (n != 0)
		put(out, digits[--n]);
	for (; pad != 0; pad--)
		put(out, ' ');
}

/* Lengths: -2 hh, -1 h, 0 none, 1 l, 2 ll and j, 3 z and t. va_list goes by pointer so that both see it move. */
static const char *
parse_length(const char *f, int *length)
{
	*length = 0;
	switch (*f) {
	case 'h':
		*length = f[1] == 'h' ? -2 : -1;
		return f + (f[1] == 'h' ? 2 : 1);
	case 'l':
		*length = f[1] == 'l' ? 2 : 1;
		return f + *length;
	case 'j':
		*length = 2;
		return f + 1;
	case 'z':
	case 't':
		*length = 3;
		return f + 1;
	default:
		return f;
	}
}

struct args {
	va_list ap;
};

static intmax_t
next_signed(struct args *args, int length)
{
	switch (length) {
	case -2:
		return (signed char)va_arg(args->ap, int);
	case -1:
		return (short)va_arg(args->ap, int);
	case 1:
		return va_arg(args->ap, long);
	case 2:
		return va_arg(args->ap, long long);
	case 3:
		return va_arg(args->ap, ssize_t);
	default:
		return va_arg(args->ap, int);
	}
}

static uintmax_t
next_unsigned(struct args *args, int length)
{
	switch (length) {
	case -2:
		return (unsigned char)va_arg(args->ap, unsigned);
	case -1:
		return (unsigned short)va_arg(args->ap, unsigned);
	case 1:
		return va_arg(args->ap, unsigned long);
	case 2:
		return va_arg(args->ap, unsigned long long);
	case 3:
		return va_arg(args->ap, size_t);
	default:
		return va_arg(args->ap, unsigned);
	}
}

static const char *
parse_flags(const char *f, struct args *args, struct spec *spec)
{
	for (;; f++) {
		if (*f == '0')
			spec->zero = true;
		else if (*f == '-')
			spec->left = true;
		else
			break;
	}
	if (*f == '*') {
		int width = va_arg(args->ap, int);

		spec->left = spec->left || width < 0;
		spec->width = width < 0 ? 0 - (size_t)width : (size_t)width;
		f++;
	}
	for (; *f >= '0' && *f <= '9'; f++)
		spec->width = spec->width * 10 + (size_t)(*f - '0');
	if (*f == '.') {
		spec->precise = true;
		if (*++f == '*') {
			int precision = va_arg(args->ap, int);

			spec->precise = precision >= 0; /* a negative one counts as none (printf(3)) */
			spec->precision = precision < 0 ? 0 : (size_t)precision;
			f++;
		}
		for (; *f >= '0' && *f <= '9'; f++)
			spec->precision = spec->precision * 10 + (size_t)(*f - '0');
	}
	return f;
}

/* One conversion; `f` stands behind the '%'. Returns what follows it, or NULL when it is not known. */
static const char *
convert(struct out *out, const char *f, struct args *args)
{
	struct spec spec = { .width = 0 };
	int length;
	char one;

	f = parse_flags(f, args, &spec);
	f = parse_length(f, &length);
	switch (*f) {
	case '%':
		put(out, '%');
		break;
	case 'c':
		one = (char)va_arg(args->ap, int);
		put_padded(out, &spec, &one, 1);
		break;
	case 's': {
		const char *text = va_arg(args->ap, const char *);

		if (text == NULL)
			text = "(null)";
		put_padded(out, &spec, text, spec.precise ? strnlen(text, spec.precision) : strlen(text));
		break;
	}
	case 'd':
	case 'i': {
		intmax_t value = next_signed(args, length);

		put_number(out, &spec, value < 0 ? 0 - (uintmax_t)value : (uintmax_t)value, 10, false,
		    value < 0 ? "-" : "");
		break;
	}
	case 'u':
		put_number(out, &spec, next_unsigned(args, length), 10, false, "");
		break;
	case 'x':
	case 'X':
		put_number(out, &spec, next_unsigned(args, length), 16, *f == 'X', "");
		break;
	case 'p':
		put_number(out, &spec, (uintptr_t)va_arg(args->ap, void *), 16, false, "0x");
		break;
	default:
		return NULL;
	}
	return f + 1;
}

int
format_v(char *buf, size_t size, const char *fmt, va_list ap)
{
	struct out out = { buf, size, 0 };
	struct args args;

	va_copy(args.ap, ap);
	while (*fmt != '\0') {
		if (*fmt == '%') {
			const char *next = convert(&out, fmt + 1, &args);

			if (next != NULL) {
				fmt = next;
				continue;
			}
		}
		put(&out, *fmt++);
	}
	va_end(args.ap);
	if (size != 0)
		buf[out.len < size ? out.len : size - 1] = '\0';
	return (int)out.len;
}

int
format(char *buf, size_t size, const char *fmt, ...)
{
	va_list ap;
	int len;

	va_start(ap, fmt);
	len = format_v(buf, size, fmt, ap);
	va_end(ap);
	return len;
}
