/* text.h -- numbers, names and bytes as people and programs read and write them */
#ifndef API_TOOLS_TEXT_H
#define API_TOOLS_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* A size as pool sets have it (api/common/poolset.h), but AUTO; and, as `pmheap run` has it, k m g t p alone (1024). False: not
 * of this form, 0, or more than 2^63 - 1. */
bool text_parse_size(const char *text, uint64_t *bytes);

#define TEXT_SIZE_MAX 32
/* "1.5 MiB", "17 bytes": three digits or so; returns buf. */
const char *text_size(char buf[TEXT_SIZE_MAX], uint64_t bytes);

/* Length of the valid UTF-8 character that the n bytes begin with; 0: none, or a control character. */
size_t text_character(const uint8_t *bytes, size_t n);
/* Between quotes, up to a 0; what cannot be shown as \xNN. */
void text_print_quoted(FILE *out, const uint8_t *bytes, size_t n);

/* 16 bytes a line, as hexdump -C writes them; lines equal to the one before are one line `*`. */
void text_print_hex(FILE *out, uint64_t offset, const void *bytes, size_t n);

#define TEXT_UUID_MAX 37
const char *text_uuid(char buf[TEXT_UUID_MAX], const uint8_t bytes[16]);

#define TEXT_TIME_MAX 40
/* Seconds since 1970 as "2026-11-27 17:30:00 UTC"; the number itself when it is no time. */
const char *text_time(char buf[TEXT_TIME_MAX], uint64_t seconds);

#endif
