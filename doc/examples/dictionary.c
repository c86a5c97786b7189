/* dictionary.c -- a dictionary of strings, in a hash table that outlives the program
 *
 * usage: dictionary POOL set KEY VALUE    VALUE belongs to KEY from now on
 *        dictionary POOL get KEY          prints it; exit status 1 when there is none
 *        dictionary POOL delete KEY       forgets it; exit status 1 when there was none
 *        dictionary POOL load             sets each line of standard input: KEY, a blank, VALUE
 *        dictionary POOL list             prints all such lines, in no order
 *        dictionary POOL count            prints how many keys there are
 *
 * The table lies in the pool as it would lie in memory from malloc(3): structs and plain pointers. Nothing here reads it
 * in or writes it out.
 *
 * cc dictionary.c -o dictionary $(pkg-config --cflags --libs libpmemcto)
 */
#define _POSIX_C_SOURCE 200809L
#include <libpmemcto.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "session.h"

/* Change the name whenever the structs below change: a pool of another layout is refused, not misread. */
#define LAYOUT "dictionary-1"
#define POOL_SIZE ((size_t)64 << 20)

struct entry {
	struct entry *next; /* in its bucket */
	uint64_t hash;
	char *value;
	char key[];
};

struct dictionary { /* the pool's root */
	struct entry **buckets;
	size_t nbuckets; /* a power of two */
	size_t count;
};

static PMEMctopool *pool;

/* --- the dictionary ------------------------------------------------------------------------------------------ */

/* FNV-1a. */
static uint64_t
hash_of(const char *key)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	while (*key != '\0')
		hash = (hash ^ (unsigned char)*key++) * UINT64_C(0x100000001b3);
	return hash;
}

/* The link to the entry of that key, or to the NULL at the end of its bucket. */
static struct entry **
find(struct dictionary *dict, const char *key)
{
	uint64_t hash = hash_of(key);
	struct entry **at = &dict->buckets[hash & (dict->nbuckets - 1)];

	while (*at != NULL && ((*at)->hash != hash || strcmp((*at)->key, key) != 0))
		at = &(*at)->next;
	return at;
}

/* Twice the buckets. When there is no room for them the chains just get longer. */
static void
grow(struct dictionary *dict)
{
	size_t nbuckets = 2 * dict->nbuckets;
	struct entry **buckets = pmemcto_calloc(pool, nbuckets, sizeof(*buckets)), *entry, *next;

	if (buckets == NULL)
		return;
	for (size_t i = 0; i < dict->nbuckets; i++) {
		for (entry = dict->buckets[i]; entry != NULL; entry = next) {
			next = entry->next;
			entry->next = buckets[entry->hash & (nbuckets - 1)];
			buckets[entry->hash & (nbuckets - 1)] = entry;
		}
	}
	pmemcto_free(pool, dict->buckets);
	dict->buckets = buckets;
	dict->nbuckets = nbuckets;
}

/* 0, or -1 when the pool is full; the dictionary is as it was then. */
static int
set(struct dictionary *dict, const char *key, const char *value)
{
	struct entry **at = find(dict, key), *entry = *at;
	char *copy = pmemcto_strdup(pool, value);

	if (copy == NULL)
		return -1;
	if (entry != NULL) {
		pmemcto_free(pool, entry->value);
		entry->value = copy;
		return 0;
	}
	entry = pmemcto_malloc(pool, sizeof(*entry) + strlen(key) + 1);
	if (entry == NULL) {
		pmemcto_free(pool, copy);
		return -1;
	}
	entry->next = NULL;
	entry->hash = hash_of(key);
	entry->value = copy;
	strcpy(entry->key, key);
	*at = entry;
	if (++dict->count > dict->nbuckets)
		grow(dict);
	return 0;
}

/* 0, or -1 when there is no such key. */
static int delete (struct dictionary *dict, const char *key)
{
	struct entry **at = find(dict, key), *entry = *at;

	if (entry == NULL)
		return -1;
	*at = entry->next;
	pmemcto_free(pool, entry->value);
	pmemcto_free(pool, entry);
	dict->count--;
	return 0;
}

/* The dictionary of a pool, or an empty one in a new pool; NULL when the pool is full. */
static struct dictionary *
get_dictionary(void)
{
	struct dictionary *dict = pmemcto_get_root_pointer(pool);

	if (dict != NULL)
		return dict;
	dict = pmemcto_calloc(pool, 1, sizeof(*dict));
	if (dict == NULL)
		return NULL;
	dict->nbuckets = 64;
	dict->buckets = pmemcto_calloc(pool, dict->nbuckets, sizeof(*dict->buckets));
	if (dict->buckets == NULL) {
		pmemcto_free(pool, dict);
		return NULL;
	}
	pmemcto_set_root_pointer(pool, dict);
	return dict;
}

/* --- commands. Each returns an exit status: the pool must be closed, so nothing in them may end the program. ----- */

static int
full(void)
{
	fprintf(stderr, "the pool is full\n");
	return 2;
}

static int
load(struct dictionary *dict)
{
	char *line = NULL, *value;
	size_t room = 0;
	ssize_t length;
	int status = 0;

	while (status == 0 && !session_stopped && (length = getline(&line, &room, stdin)) > 0) {
		if (line[length - 1] == '\n')
			line[length - 1] = '\0';
		value = strchr(line, ' ');
		if (value != NULL)
			*value++ = '\0';
		if (*line != '\0' && set(dict, line, value != NULL ? value : "") != 0)
			status = full();
	}
	free(line);
	return status;
}

static int
command(struct dictionary *dict, int argc, char **argv)
{
	const char *verb = argc > 0 ? argv[0] : "";
	struct entry *entry;

	if (argc == 3 && strcmp(verb, "set") == 0)
		return set(dict, argv[1], argv[2]) == 0 ? 0 : full();
	if (argc == 2 && strcmp(verb, "get") == 0) {
		entry = *find(dict, argv[1]);
		return entry != NULL ? (puts(entry->value), 0) : 1;
	}
	if (argc == 2 && strcmp(verb, "delete") == 0)
		return delete (dict, argv[1]) == 0 ? 0 : 1;
	if (argc == 1 && strcmp(verb, "load") == 0)
		return load(dict);
	if (argc == 1 && strcmp(verb, "list") == 0) {
		for (size_t i = 0; i < dict->nbuckets; i++)
			for (entry = dict->buckets[i]; entry != NULL; entry = entry->next)
				printf("%s %s\n", entry->key, entry->value);
		return 0;
	}
	if (argc == 1 && strcmp(verb, "count") == 0)
		return printf("%zu\n", dict->count) < 0;
	fprintf(stderr, "usage: dictionary POOL set KEY VALUE | get KEY | delete KEY | load | list | count\n");
	return 2;
}

int
main(int argc, char **argv)
{
	struct dictionary *dict;
	int status;

	if (argc < 3)
		return command(NULL, 0, NULL);
	pool = session_open(argv[1], LAYOUT, POOL_SIZE);
	if (pool == NULL)
		return 2;
	dict = get_dictionary();
	status = dict != NULL ? command(dict, argc - 2, argv + 2) : full();
	if (session_close(pool, argv[1]) != 0)
		status = 2;
	return status;
}
