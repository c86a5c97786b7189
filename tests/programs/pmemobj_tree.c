/* pmemobj_tree.c -- uses Debian's libpmemobj, which finds our libpmem in place of Debian's
 *
 * usage: pmemobj_tree FILE LIBPMEM -- makes a pool, fills it in transactions (some aborted), closes, opens, looks, checks.
 * LIBPMEM: the path that libpmem.so.1 must have been loaded from. Exit status 0, or 1 with the reason.
 *
 * The few prototypes and structures of libpmemobj that it needs are stated here: it is opened by name, so that this
 * program builds where the package is not installed. Exit status 77: it is not.
 * Media: the pool file given.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <limits.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct pmemobjpool PMEMobjpool;
typedef struct {
	uint64_t pool, off;
} PMEMoid;

static PMEMobjpool *(*create)(const char *, const char *, size_t, mode_t);
static PMEMobjpool *(*open_pool)(const char *, const char *);
static void (*close_pool)(PMEMobjpool *);
static int (*check_pool)(const char *, const char *);
static PMEMoid (*root)(PMEMobjpool *, size_t);
static void *(*direct)(PMEMoid);
static int (*tx_begin)(PMEMobjpool *, jmp_buf, ...);
static int (*tx_add)(const void *, size_t);
static PMEMoid (*tx_alloc)(size_t, uint64_t);
static int (*tx_free)(PMEMoid);
static void (*tx_commit)(void);
static void (*tx_abort)(int);
static int (*tx_end)(void);
static void *(*memcpy_persist)(PMEMobjpool *, void *, const void *, size_t);
static void *(*memset_persist)(PMEMobjpool *, void *, int, size_t);
static const char *(*errormsg)(void);

#define NODES 500
#define BYTES 300

struct root {
	uint64_t count;
	PMEMoid nodes[NODES];
	char note[4000];
};

static void
die(const char *what)
{
	printf("%s: %s\n", what, errormsg != NULL ? errormsg() : dlerror());
	exit(1);
}

static void *
name(void *library, const char *symbol)
{
	void *p = dlsym(library, symbol);

	if (p == NULL)
		die(symbol);
	return p;
}

#define GET(variable, symbol) *(void **)&variable = name(library, symbol)

static void
load(void)
{
	void *library = dlopen("libpmemobj.so.1", RTLD_NOW);

	if (library == NULL) {
		printf("libpmemobj is not installed: %s\n", dlerror());
		exit(77);
	}
	GET(create, "pmemobj_create");
	GET(open_pool, "pmemobj_open");
	GET(close_pool, "pmemobj_close");
	GET(check_pool, "pmemobj_check");
	GET(root, "pmemobj_root");
	GET(direct, "pmemobj_direct");
	GET(tx_begin, "pmemobj_tx_begin");
	GET(tx_add, "pmemobj_tx_add_range_direct");
	GET(tx_alloc, "pmemobj_tx_alloc");
	GET(tx_free, "pmemobj_tx_free");
	GET(tx_commit, "pmemobj_tx_commit");
	GET(tx_abort, "pmemobj_tx_abort");
	GET(tx_end, "pmemobj_tx_end");
	GET(memcpy_persist, "pmemobj_memcpy_persist");
	GET(memset_persist, "pmemobj_memset_persist");
	GET(errormsg, "pmemobj_errormsg");
}

/* Adds node `i` in a transaction; when `keep` is 0 the transaction is aborted. */
static void
add_node(PMEMobjpool *pool, struct root *r, unsigned i, int keep)
{
	jmp_buf env;

	if (setjmp(env) != 0) { /* aborted */
		tx_end();
		return;
	}
	if (tx_begin(pool, env, 0) != 0)
		die("pmemobj_tx_begin");
	tx_add(&r->nodes[i], sizeof(r->nodes[i]));
	tx_add(&r->count, sizeof(r->count));
	r->nodes[i] = tx_alloc(BYTES, 1);
	memset(direct(r->nodes[i]), (int)i, BYTES);
	r->count++;
	if (!keep)
		tx_abort(125);
	tx_commit();
	tx_end();
}

static void
remove_node(PMEMobjpool *pool, struct root *r, unsigned i)
{
	jmp_buf env;

	if (setjmp(env) != 0 || tx_begin(pool, env, 0) != 0)
		die("remove");
	tx_add(&r->nodes[i], sizeof(r->nodes[i]));
	tx_add(&r->count, sizeof(r->count));
	tx_free(r->nodes[i]);
	r->nodes[i] = (PMEMoid){0, 0};
	r->count--;
	tx_commit();
	tx_end();
}

static int
is_kept(unsigned i)
{
	return i % 7 != 3 && i % 5 != 0;
}

static void
look(struct root *r)
{
	uint64_t count = 0;

	for (unsigned i = 0; i < NODES; i++) {
		const unsigned char *p = r->nodes[i].off != 0 ? direct(r->nodes[i]) : NULL;

		if ((p != NULL) != is_kept(i)) {
			printf("node %u is %s\n", i, p != NULL ? "there" : "gone");
			exit(1);
		}
		count += p != NULL;
		for (unsigned b = 0; p != NULL && b < BYTES; b++)
			if (p[b] != (unsigned char)i) {
				printf("node %u: byte %u is %u\n", i, b, p[b]);
				exit(1);
			}
	}
	if (count != r->count || strncmp(r->note, "persistent", 10) != 0 || r->note[3999] != 'z') {
		printf("count %llu instead of %llu, note \"%.10s\"\n", (unsigned long long)r->count, (unsigned long long)count, r->note);
		exit(1);
	}
}

int
main(int argc, char **argv)
{
	PMEMobjpool *pool;
	struct root *r;
	char real[PATH_MAX], wanted[PATH_MAX];
	Dl_info info;

	if (argc != 3)
		return 2;
	load();
	if (dladdr(dlsym(RTLD_DEFAULT, "pmem_memcpy_persist") ? dlsym(RTLD_DEFAULT, "pmem_memcpy_persist") :
	        dlsym(dlopen("libpmem.so.1", RTLD_NOW | RTLD_NOLOAD), "pmem_memcpy_persist"), &info) == 0 ||
	    realpath(info.dli_fname, real) == NULL || realpath(argv[2], wanted) == NULL || strcmp(real, wanted) != 0) {
		printf("libpmem is %s, not %s\n", info.dli_fname, argv[2]);
		return 1;
	}
	remove(argv[1]);
	pool = create(argv[1], "tree", 16 << 20, 0600);
	if (pool == NULL)
		die("pmemobj_create");
	r = direct(root(pool, sizeof(*r)));
	for (unsigned i = 0; i < NODES; i++)
		add_node(pool, r, i, i % 7 != 3);
	for (unsigned i = 0; i < NODES; i++)
		if (i % 7 != 3 && i % 5 == 0)
			remove_node(pool, r, i);
	memcpy_persist(pool, r->note, "persistent", 11);
	memset_persist(pool, r->note + 11, 'z', sizeof(r->note) - 11);
	look(r);
	close_pool(pool);

	if (check_pool(argv[1], "tree") != 1)
		die("pmemobj_check");
	pool = open_pool(argv[1], "tree");
	if (pool == NULL)
		die("pmemobj_open");
	look(direct(root(pool, sizeof(*r))));
	close_pool(pool);
	remove(argv[1]);
	puts("libpmemobj works on this libpmem");
	return 0;
}
