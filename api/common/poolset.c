/* poolset.c -- the grammar of pool set files
 *
 * Owns:   nothing.
 * Rules:  G1  a line is judged by its words, words never reach beyond their line, and lines not beyond the text: nothing
 *             relies on a 0 or a newline at the end.
 *         G2  what the published library takes for a set is one here, and means the same. Lines of nothing but blanks
 *             are skipped, where that one refuses them; bytes of value 0 are refused, where that one stops reading.
 *         G3  a text is judged whole before it is said to be good: who gives a replica and a misspelt line is told of
 *             the line.
 * Locks:  none.
 * Media:  none.
 * Fails:  by a sentence.
 */
#include "api/common/poolset.h"

#include <string.h>

struct parser {
	const char *at, *end; /* what is not read yet */
	unsigned line;
	bool remote;       /* the section is a replica on another machine: without parts */
	size_t in_section; /* parts of this section */
	struct poolset *set;
	struct poolset_fault *fault;
};

/* --- lines and words ----------------------------------------------------------------------------------------- */

/* Takes the next line off the text. Without LF or CRLF at its end. */
static bool
next_line(struct parser *p, struct poolset_word *line)
{
	const char *end;

	if (p->at == p->end)
		return false;
	p->line++;
	end = memchr(p->at, '\n', (size_t)(p->end - p->at));
	*line = (struct poolset_word){p->at, (size_t)((end != NULL ? end : p->end) - p->at)};
	p->at = end != NULL ? end + 1 : p->end;
	if (end != NULL && line->length > 0 && line->at[line->length - 1] == '\r')
		line->length--;
	return true;
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* Takes the next word off a line; empty when there is none. */
static struct poolset_word
next_word(struct poolset_word *line)
{
	struct poolset_word word;

	while (line->length > 0 && is_blank(*line->at)) {
		line->at++;
		line->length--;
	}
	word = (struct poolset_word){line->at, 0};
	while (line->length > 0 && !is_blank(*line->at)) {
		line->at++;
		line->length--;
		word.length++;
	}
	return word;
}

static bool
is(struct poolset_word word, const char *text)
{
	return word.length == strlen(text) && memcmp(word.at, text, word.length) == 0;
}

static bool
begins(struct poolset_word word, const char *text)
{
	return word.length >= strlen(text) && memcmp(word.at, text, strlen(text)) == 0;
}

static const char *
wrong(struct parser *p, struct poolset_word value, const char *what)
{
	*p->fault = (struct poolset_fault){p->line, value};
	return what;
}

static const char *
missing(struct parser *p, const char *what)
{
	return wrong(p, (struct poolset_word){"", 0}, what);
}

/* --- what stands in a line ----------------------------------------------------------------------------------- */

/* How often which base: "KiB" is 1024 once, "GB" is 1000 three times. 0: no unit. */
static unsigned
unit_power(struct poolset_word unit, unsigned *base)
{
	static const char binary[] = "KMGTP", decimal[] = "kMGTP";
	const char *letter;

	if (unit.length == 1 || (unit.length == 3 && unit.at[1] == 'i' && unit.at[2] == 'B')) {
		*base = 1024;
		letter = memchr(binary, *unit.at, sizeof(binary) - 1);
		return letter != NULL ? (unsigned)(letter - binary) + 1 : 0;
	}
	if (unit.length == 2 && unit.at[1] == 'B') {
		*base = 1000;
		letter = memchr(decimal, *unit.at, sizeof(decimal) - 1);
		return letter != NULL ? (unsigned)(letter - decimal) + 1 : 0;
	}
	return 0;
}

const char *
poolset_parse_size(const char *text, size_t n, uint64_t *size)
{
	struct poolset_word unit = {text, n};
	unsigned base, power;
	bool huge = false;

	*size = 0;
	for (; unit.length > 0 && *unit.at >= '0' && *unit.at <= '9'; unit.at++, unit.length--)
		huge = huge || __builtin_mul_overflow(*size, UINT64_C(10), size) ||
			__builtin_add_overflow(*size, (uint64_t)(*unit.at - '0'), size);
	if (unit.length == n)
		return "a size is a whole number of bytes with or without unit, or AUTO";
	if (unit.length > 0 && !is(unit, "B")) {
		power = unit_power(unit, &base);
		if (power == 0)
			return "the size has an unknown unit (K to P, KiB to PiB, kB to PB, B)";
		for (; power > 0; power--)
			huge = huge || __builtin_mul_overflow(*size, (uint64_t)base, size);
	}
	if (huge || *size > INT64_MAX)
		return "no file has that size";
	if (*size == 0)
		return "the size is 0";
	return NULL;
}

static const char *
parse_size_word(struct parser *p, struct poolset_word word, uint64_t *size)
{
	const char *what = poolset_parse_size(word.at, word.length, size);

	return what != NULL ? wrong(p, word, what) : NULL;
}

static const char *
parse_part(struct parser *p, struct poolset_word size_word, struct poolset_word rest)
{
	struct poolset_part part = {next_word(&rest), POOLSET_AUTO, p->line};
	struct poolset_word third = next_word(&rest);
	const char *fault = is(size_word, "AUTO") ? NULL : parse_size_word(p, size_word, &part.size);

	if (fault != NULL)
		return fault;
	if (part.path.length == 0)
		return wrong(p, size_word, "the size has no path behind it");
	if (*part.path.at != '/')
		return wrong(p, part.path, "the path is not absolute");
	if (third.length != 0)
		return wrong(p, third, "there is more than a size and a path (paths cannot have blanks in them)");
	if (p->remote)
		return wrong(p, part.path, "a replica on another machine has no parts here");
	p->in_section++;
	if (p->set->replicas)
		return NULL;
	if (p->set->nparts == POOLSET_MAX_PARTS)
		return wrong(p, part.path, "there are more than 1024 parts");
	p->set->part[p->set->nparts++] = part;
	return NULL;
}

static const char *
parse_options(struct parser *p, struct poolset_word rest)
{
	struct poolset_word word = next_word(&rest);

	if (word.length == 0)
		return missing(p, "OPTION has no option behind it");
	for (; word.length != 0; word = next_word(&rest)) {
		if (is(word, "SINGLEHDR"))
			p->set->single_header = true;
		else if (is(word, "NOHDRS"))
			p->set->no_headers = true;
		else
			return wrong(p, word, "the option is unknown (SINGLEHDR, NOHDRS)");
	}
	return NULL;
}

/* The section before it must have had parts, unless none are due there. */
static const char *
end_section(struct parser *p)
{
	if (p->in_section != 0 || p->remote)
		return NULL;
	return missing(p, p->set->replicas ? "the replica has no parts" : "the set has no parts");
}

static const char *
parse_replica(struct parser *p, struct poolset_word rest)
{
	struct poolset_word host = next_word(&rest), set = next_word(&rest), fourth = next_word(&rest);
	const char *fault = end_section(p);

	if (fault != NULL)
		return fault;
	if (host.length != 0 && set.length == 0)
		return wrong(p, host, "a replica on another machine is given by host and set");
	if (fourth.length != 0)
		return wrong(p, fourth, "there is more than the host and the set of a replica");
	p->set->replicas = true;
	p->remote = host.length != 0;
	p->in_section = 0;
	return NULL;
}

static const char *
parse_line(struct parser *p, struct poolset_word line)
{
	const char *comment = memchr(line.at, '#', line.length);
	struct poolset_word word;

	if (comment != NULL)
		line.length = (size_t)(comment - line.at);
	if (memchr(line.at, '\0', line.length) != NULL)
		return missing(p, "there is a byte of value 0: this is no text");
	word = next_word(&line);
	if (word.length == 0)
		return NULL;
	if (begins(word, "OPTION")) {
		/* G2: a blank before the first option is not needed */
		line.at = word.at + strlen("OPTION");
		line.length += word.length - strlen("OPTION");
		return parse_options(p, line);
	}
	if (is(word, "REPLICA"))
		return parse_replica(p, line);
	return parse_part(p, word, line);
}

/* --- the whole ----------------------------------------------------------------------------------------------- */

bool
poolset_begins(const void *text, size_t n)
{
	return n >= POOLSET_SIGNATURE_SIZE && memcmp(text, POOLSET_SIGNATURE, POOLSET_SIGNATURE_SIZE) == 0;
}

const char *
poolset_parse(const char *text, size_t n, struct poolset *set, struct poolset_fault *fault)
{
	struct parser p = {.at = text, .end = text + n, .set = set, .fault = fault};
	struct poolset_word line = {text, 0};
	const char *what = NULL;

	set->single_header = set->no_headers = set->replicas = false;
	set->nparts = 0;
	if (n > POOLSET_MAX_TEXT)
		return missing(&p, "the text is larger than that of any set (1 MiB)");
	if (!next_line(&p, &line) || !is(line, POOLSET_SIGNATURE) || p.at[-1] != '\n')
		return wrong(&p, line, "the first line is not just " POOLSET_SIGNATURE);
	while (what == NULL && next_line(&p, &line))
		what = parse_line(&p, line);
	return what != NULL ? what : end_section(&p);
}
