/* ordered_tree.c -- strings in order, in a search tree that outlives the program
 *
 * usage: ordered_tree POOL put KEY VALUE      VALUE belongs to KEY from now on
 *        ordered_tree POOL get KEY            prints it; exit status 1 when there is none
 *        ordered_tree POOL delete KEY         exit status 1 when there was none
 *        ordered_tree POOL load               puts each line of standard input: KEY, a blank, VALUE
 *        ordered_tree POOL list [FROM [TO]]   prints the keys from FROM to TO with their values, in order
 *        ordered_tree POOL draw               prints the tree lying on its side
 *
 * The tree is a treap: by keys it is a search tree, by priorities a heap. A key's priority is its hash, so the tree has
 * the shape of one that was filled in random order, whatever the order was: about 2 ln n levels.
 *
 * cc ordered_tree.c -o ordered_tree $(pkg-config --cflags --libs libpmemcto)
 */
#define _POSIX_C_SOURCE 200809L
#include <libpmemcto.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "session.h"

#define LAYOUT "ordered-tree-1"
#define POOL_SIZE ((size_t)64 << 20)

struct node {
	struct node *left, *right;
	uint64_t priority; /* at least that of both children */
	char *value;
	char key[];
};

struct tree { /* the pool's root: the top node moves, this does not */
	struct node *top;
	size_t count;
};

static PMEMctopool *pool;

/* --- the tree ------------------------------------------------------------------------------------------------ */

/* FNV-1a, and a last stirring: priorities are compared from the highest bit on, which the last letters must reach. */
static uint64_t
priority_of(const char *key)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	while (*key != '\0')
		hash = (hash ^ (unsigned char)*key++) * UINT64_C(0x100000001b3);
	hash ^= hash >> 32;
	return hash * UINT64_C(0x9e3779b97f4a7c15);
}

/* The link to the node of that key, or to the NULL where it would be. */
static struct node **
find(struct tree *tree, const char *key)
{
	struct node **at = &tree->top;
	int order;

	while (*at != NULL && (order = strcmp(key, (*at)->key)) != 0)
		at = order < 0 ? &(*at)->left : &(*at)->right;
	return at;
}

/* Takes a tree apart: keys below `key`, and the others. */
static void
split(struct node *top, const char *key, struct node **below, struct node **others)
{
	while (top != NULL) {
		if (strcmp(top->key, key) < 0) {
			*below = top;
			below = &top->right;
			top = *below;
		} else {
			*others = top;
			others = &top->left;
			top = *others;
		}
	}
	*below = *others = NULL;
}

/* The reverse: all keys of `low` are below those of `high`. */
static struct node *
join(struct node *low, struct node *high)
{
	struct node *top, **at = &top;

	while (low != NULL && high != NULL) {
		if (low->priority >= high->priority) {
			*at = low;
			at = &low->right;
			low = *at;
		} else {
			*at = high;
			at = &high->left;
			high = *at;
		}
	}
	*at = low != NULL ? low : high;
	return top;
}

/* 0, or -1 when the pool is full; the tree is as it was then. */
static int
put(struct tree *tree, const char *key, const char *value)
{
	struct node *node = *find(tree, key), **at = &tree->top;
	char *copy = pmemcto_strdup(pool, value);

	if (copy == NULL)
		return -1;
	if (node != NULL) {
		pmemcto_free(pool, node->value);
		node->value = copy;
		return 0;
	}
	node = pmemcto_malloc(pool, sizeof(*node) + strlen(key) + 1);
	if (node == NULL) {
		pmemcto_free(pool, copy);
		return -1;
	}
	strcpy(node->key, key);
	node->value = copy;
	node->priority = priority_of(key);
	while (*at != NULL && (*at)->priority >= node->priority)
		at = strcmp(key, (*at)->key) < 0 ? &(*at)->left : &(*at)->right;
	split(*at, key, &node->left, &node->right);
	*at = node;
	tree->count++;
	return 0;
}

/* 0, or -1 when there is no such key. */
static int delete (struct tree *tree, const char *key)
{
	struct node **at = find(tree, key), *node = *at;

	if (node == NULL)
		return -1;
	*at = join(node->left, node->right);
	pmemcto_free(pool, node->value);
	pmemcto_free(pool, node);
	tree->count--;
	return 0;
}

/* Prints the keys in [from, to]; NULL is no bound. Looks only at nodes on the way to them. */
static void
list(const struct node *node, const char *from, const char *to)
{
	if (node == NULL)
		return;
	if (from == NULL || strcmp(from, node->key) < 0)
		list(node->left, from, to);
	if ((from == NULL || strcmp(from, node->key) <= 0) && (to == NULL || strcmp(node->key, to) <= 0))
		printf("%s %s\n", node->key, node->value);
	if (to == NULL || strcmp(node->key, to) < 0)
		list(node->right, from, to);
}

static void
draw(const struct node *node, int depth)
{
	if (node == NULL)
		return;
	draw(node->right, depth + 1);
	printf("%*s%s\n", 4 * depth, "", node->key);
	draw(node->left, depth + 1);
}

/* The tree of a pool, or an empty one in a new pool; NULL when the pool is full. */
static struct tree *
get_tree(void)
{
	struct tree *tree = pmemcto_get_root_pointer(pool);

	if (tree == NULL) {
		tree = pmemcto_calloc(pool, 1, sizeof(*tree));
		pmemcto_set_root_pointer(pool, tree);
	}
	return tree;
}

/* --- commands. Each returns an exit status: the pool must be closed, so nothing in them may end the program. ----- */

static int
full(void)
{
	fprintf(stderr, "the pool is full\n");
	return 2;
}

static int
load(struct tree *tree)
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
		if (*line != '\0' && put(tree, line, value != NULL ? value : "") != 0)
			status = full();
	}
	free(line);
	return status;
}

static int
command(struct tree *tree, int argc, char **argv)
{
	const char *verb = argc > 0 ? argv[0] : "";

	if (argc == 3 && strcmp(verb, "put") == 0)
		return put(tree, argv[1], argv[2]) == 0 ? 0 : full();
	if (argc == 2 && strcmp(verb, "get") == 0) {
		struct node *node = *find(tree, argv[1]);

		return node != NULL ? (puts(node->value), 0) : 1;
	}
	if (argc == 2 && strcmp(verb, "delete") == 0)
		return delete (tree, argv[1]) == 0 ? 0 : 1;
	if (argc == 1 && strcmp(verb, "load") == 0)
		return load(tree);
	if (argc >= 1 && argc <= 3 && strcmp(verb, "list") == 0) {
		list(tree->top, argc > 1 ? argv[1] : NULL, argc > 2 ? argv[2] : NULL);
		return 0;
	}
	if (argc == 1 && strcmp(verb, "draw") == 0) {
		draw(tree->top, 0);
		return 0;
	}
	fprintf(stderr,
		"usage: ordered_tree POOL put KEY VALUE | get KEY | delete KEY | load | list [FROM [TO]] | draw\n");
	return 2;
}

int
main(int argc, char **argv)
{
	struct tree *tree;
	int status;

	if (argc < 3)
		return command(NULL, 0, NULL);
	pool = session_open(argv[1], LAYOUT, POOL_SIZE);
	if (pool == NULL)
		return 2;
	tree = get_tree();
	status = tree != NULL ? command(tree, argc - 2, argv + 2) : full();
	if (session_close(pool, argv[1]) != 0)
		status = 2;
	return status;
}
