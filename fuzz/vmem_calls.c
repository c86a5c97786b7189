/* vmem_calls.c -- fuzz target: any sequence of libvmem's calls, over pools that come, go, overlap and are remembered too long
 *
 * Pools lie at chosen places of one piece of memory, or in files. The program is one that keeps to the manual, but
 *   - it takes the memory of a pool back without vmem_delete() and makes another one there, or over a part of it;
 *   - it calls with handles of pools that are gone.
 * What must hold:
 *   V1  a block lies in its pool, aligned, on nobody else's bytes, and keeps what was written to it.
 *   V2  NULL comes with ENOMEM, or with EINVAL and a message for a handle, an alignment or a size that is none; a call that
 *       succeeds leaves errno alone.
 *   V3  an empty pool has room for half of its size.
 *   V4  vmem_check() is 1 for a pool that was let alone, 0 for one that overlaps a live one, -1 for a stale handle.
 *   V5  the program's malloc and free functions are called in pairs.
 *   V6  a child of fork() goes on with the pools in private memory, and changes nothing of its parent's.
 *
 * Deterministic: the memory is empty at the start of each input, and no pool outlives it.
 */
#define _GNU_SOURCE
#include "fuzz/calls.h"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wchar.h>

#include "api/include/libvmem.h"

#define PAGE ((size_t)4096)
#define ARENA ((size_t)40 << 20)
#define POOLS_MAX 4u
#define STALE_MAX 8u
#define KEPT 4711 /* of errno */

struct pool {
	VMEM *vmp;
	size_t size;
	bool in_file;
	bool spoiled;        /* another pool was made on its bytes: it may only be checked and deleted */
	bool may_be_refused; /* its malloc function had nothing to give */
	struct blocks blocks;
};

static char *arena;
static struct pool pools[POOLS_MAX];
static unsigned npools;
static VMEM *stale[STALE_MAX];
static unsigned nstale;
/* the program's functions */
static int outstanding;
static bool refuses;
static size_t printed;

static void *
program_malloc(size_t size)
{
	void *p = refuses ? NULL : malloc(size);

	outstanding += p != NULL;
	return p;
}

static void
program_free(void *p)
{
	outstanding--;
	free(p);
}

static void
program_print(const char *line)
{
	printed += strlen(line);
}

/* --- pools ---------------------------------------------------------------------------------------------------- */

static void
remember(VMEM *vmp)
{
	stale[nstale++ % STALE_MAX] = vmp;
}

/* A handle that no pool has now; NULL is one as well. */
static VMEM *
pick_stale(struct input *in)
{
	VMEM *vmp = stale[input_byte(in) % STALE_MAX];

	for (unsigned i = 0; i < npools; i++)
		if (pools[i].vmp == vmp)
			return NULL;
	return vmp;
}

static bool
overlap(const struct pool *a, const struct pool *b)
{
	return (char *)a->vmp < (char *)b->vmp + b->size && (char *)b->vmp < (char *)a->vmp + a->size;
}

static void
pool_forget(unsigned i)
{
	pools[i] = pools[--npools];
}

static void
pool_add(VMEM *vmp, size_t size, bool in_file)
{
	struct pool *pool = &pools[npools];

	for (unsigned i = 0; i < npools; i++)
		if (pools[i].vmp == vmp) { /* the new one took its place */
			pool_forget(i);
			pool = &pools[npools];
			break;
		}
	memset(pool, 0, offsetof(struct pool, blocks.list));
	*pool = (struct pool){.vmp = vmp, .size = size, .in_file = in_file, .may_be_refused = refuses};
	for (unsigned i = 0; i < npools; i++)
		pools[i].spoiled = pools[i].spoiled || overlap(&pools[i], pool);
	npools++;
}

static void
refused(const VMEM *vmp, int error, const char *what)
{
	REQUIRE(vmp == NULL && errno == error && vmem_errormsg()[0] != '\0', "%s: %p, errno %d: %s", what,
		(const void *)vmp, errno, vmem_errormsg());
}

static void
op_create_in_region(struct input *in)
{
	size_t at = input_byte(in) * (ARENA - VMEM_MIN_POOL) / 255 / PAGE * PAGE;
	size_t size = VMEM_MIN_POOL + input_byte(in) * PAGE * 16 + (input_byte(in) % 2) * 100;
	unsigned how = input_byte(in);
	VMEM *vmp;

	if (npools == POOLS_MAX)
		return;
	if (size > ARENA - at)
		size = ARENA - at;
	errno = KEPT;
	switch (how) {
	case 255:
		refused(vmem_create_in_region(arena + at + 16, size), EINVAL, "an address inside a page");
		return;
	case 254:
		refused(vmem_create_in_region(arena + at, VMEM_MIN_POOL - 1), EINVAL, "a size too small");
		return;
	case 253:
		refused(vmem_create_in_region(NULL, size), EINVAL, "no address");
		return;
	case 252:
		refused(vmem_create_in_region(arena + at, SIZE_MAX - PAGE), EINVAL, "a region past the end of all");
		return;
	default:
		break;
	}
	/* what the program does with memory that it takes back */
	REQUIRE(mprotect(arena + at, (size + PAGE - 1) & ~(PAGE - 1), PROT_READ | PROT_WRITE) == 0, "mprotect");
	vmp = vmem_create_in_region(arena + at, size);
	REQUIRE((char *)vmp == arena + at && errno == KEPT, "%p, errno %d: %s", (void *)vmp, errno, vmem_errormsg());
	pool_add(vmp, size, false);
}

static void
op_create_in_file(struct input *in)
{
	size_t size = VMEM_MIN_POOL + input_byte(in) * PAGE;
	unsigned how = input_byte(in);
	VMEM *vmp;

	if (npools == POOLS_MAX)
		return;
	errno = KEPT;
	if (how == 255) {
		refused(vmem_create("/nowhere", size), ENOENT, "a folder that is not there");
		return;
	}
	if (how == 254) {
		refused(vmem_create("/dev/shm", how), EINVAL, "a size too small");
		return;
	}
	vmp = vmem_create("/dev/shm", size);
	REQUIRE(vmp != NULL && errno == KEPT, "errno %d: %s", errno, vmem_errormsg());
	pool_add(vmp, size, true);
}

static void
delete_pool(unsigned i)
{
	VMEM *vmp = pools[i].vmp;

	if (!pools[i].spoiled)
		blocks_require(&pools[i].blocks, "before vmem_delete");
	errno = KEPT;
	vmem_delete(vmp);
	REQUIRE(errno == KEPT, "errno %d", errno);
	remember(vmp);
	pool_forget(i);
}

static bool
overlaps_any(const struct pool *pool)
{
	bool overlaps = false;

	for (unsigned i = 0; i < npools; i++)
		overlaps = overlaps || (&pools[i] != pool && overlap(&pools[i], pool));
	return overlaps;
}

static void
op_check(struct input *in)
{
	struct pool *pool = &pools[input_byte(in) % (npools + 1)];
	int verdict;

	if (pool == &pools[npools]) {
		VMEM *vmp = pick_stale(in);

		errno = KEPT;
		verdict = vmem_check(vmp);
		REQUIRE(verdict == -1 && errno == EINVAL, "%d, errno %d", verdict, errno);
		return;
	}
	errno = KEPT;
	verdict = vmem_check(pool->vmp);
	REQUIRE(errno == KEPT, "errno %d", errno);
	if (overlaps_any(pool))
		REQUIRE(verdict == 0, "%d for a pool that overlaps another", verdict);
	else if (pool->spoiled)
		REQUIRE(verdict == 0 || verdict == 1, "%d", verdict);
	else
		REQUIRE(verdict == 1, "%d: %s", verdict, vmem_errormsg());
}

/* Every call with a handle that is of no pool. */
static void
op_stale(struct input *in)
{
	VMEM *vmp = pick_stale(in);
	unsigned call = input_byte(in) % 9;
	char here[16] = "here";
	void *p = NULL;

	errno = KEPT;
	switch (call) {
	case 0:
		p = vmem_malloc(vmp, 10);
		break;
	case 1:
		p = vmem_calloc(vmp, 2, 10);
		break;
	case 2:
		p = vmem_realloc(vmp, here, 100);
		break;
	case 3:
		p = vmem_aligned_alloc(vmp, 64, 10);
		break;
	case 4:
		p = vmem_strdup(vmp, here);
		break;
	case 5:
		REQUIRE(vmem_malloc_usable_size(vmp, here) == 0, "a size of what is of no pool");
		break;
	case 6:
		vmem_delete(vmp);
		break;
	case 7:
		vmem_stats_print(vmp, NULL);
		break;
	default: /* has no way to say so but by its message */
		vmem_free(vmp, here);
		REQUIRE(strstr(vmem_errormsg(), "invalid pool handle") != NULL, "\"%s\"", vmem_errormsg());
		return;
	}
	REQUIRE(p == NULL && (errno == EINVAL || call == 7), "call %u: errno %d", call, errno);
}

/* --- blocks --------------------------------------------------------------------------------------------------- */

static struct pool *
pick_pool(struct input *in)
{
	struct pool *pool = npools ? &pools[input_byte(in) % npools] : NULL;

	return pool == NULL || pool->spoiled ? NULL : pool;
}

/* V2, V3 for what an allocation gave. */
static void
came(struct pool *pool, void *p, size_t size, size_t align)
{
	if (p != NULL) {
		REQUIRE(errno == KEPT, "errno %d", errno);
		blocks_add(&pool->blocks, p, size, align, pool->vmp, pool->size);
		REQUIRE(vmem_malloc_usable_size(pool->vmp, p) >= size, "%zu bytes", size);
		return;
	}
	REQUIRE(errno == ENOMEM, "errno %d", errno);
	REQUIRE(pool->blocks.n > 0 || pool->may_be_refused || size > pool->size / 2 || align > pool->size / 4,
		"an empty pool of %zu bytes has no room for %zu", pool->size, size);
}

static void
op_allocate(struct input *in)
{
	struct pool *pool = pick_pool(in);
	unsigned call = input_byte(in);
	size_t size, n;
	char text[300];
	wchar_t wide[16] = L"wide";

	if (pool == NULL || pool->blocks.n == BLOCKS_MAX)
		return;
	size = input_size(in, pool->size);
	errno = KEPT;
	switch (call % 6) {
	case 0:
		came(pool, vmem_malloc(pool->vmp, size), size, 16);
		break;
	case 1: {
		n = 1 + call / 6 % 5;
		unsigned char *p = vmem_calloc(pool->vmp, n, size);

		if (p == NULL && size > SIZE_MAX / n) {
			REQUIRE(errno == ENOMEM, "errno %d", errno);
			break;
		}
		for (size_t at = 0; p != NULL && at < n * size; at += at < 4096 ? 1 : 509)
			REQUIRE(p[at] == 0, "byte %zu of vmem_calloc's %zu", at, n * size);
		came(pool, p, n * size, 16);
		break;
	}
	case 2: {
		size_t align = (size_t)1 << (call / 6 % 24);

		came(pool, vmem_aligned_alloc(pool->vmp, align, size), size, align < 16 ? 16 : align);
		break;
	}
	case 3:
		n = size % sizeof(text);
		memset(text, 'x', sizeof(text));
		text[n] = '\0';
		char *copy = vmem_strdup(pool->vmp, text);
		REQUIRE(copy == NULL || strcmp(copy, text) == 0, "a copy of %zu bytes", n);
		came(pool, copy, n + 1, 16);
		break;
	case 4:
		wide[size % 4] = L'\0';
		wchar_t *wide_copy = vmem_wcsdup(pool->vmp, wide);
		REQUIRE(wide_copy == NULL || wcscmp(wide_copy, wide) == 0, "a copy of %zu wide characters",
			wcslen(wide));
		came(pool, wide_copy, (wcslen(wide) + 1) * sizeof(wchar_t), 16);
		break;
	default:
		refused(vmem_aligned_alloc(pool->vmp, size & (size - 1) ? size : 0, 10), EINVAL, "no power of two");
	}
}

static void
op_realloc(struct input *in)
{
	struct pool *pool = pick_pool(in);
	struct block old;
	size_t size;
	void *p;

	if (pool == NULL)
		return;
	size = input_size(in, pool->size);
	if (pool->blocks.n == 0) {
		errno = KEPT;
		came(pool, vmem_realloc(pool->vmp, NULL, size), size, 16);
		return;
	}
	old = blocks_take(&pool->blocks, input_byte(in) % pool->blocks.n, "before vmem_realloc");
	errno = KEPT;
	p = vmem_realloc(pool->vmp, old.p, size);
	if (size == 0) {
		REQUIRE(p == NULL && errno == KEPT, "vmem_realloc to nothing: %p, errno %d", p, errno);
		return;
	}
	if (p == NULL) {
		REQUIRE(errno == ENOMEM && size > old.size, "errno %d for %zu bytes instead of %zu", errno, size,
			old.size);
		block_require(&old, old.p, old.size, "after a failed vmem_realloc");
		pool->blocks.list[pool->blocks.n++] = old;
		return;
	}
	block_require(&old, p, size < old.size ? size : old.size, "after vmem_realloc");
	came(pool, p, size, 16);
}

static void
op_free(struct input *in)
{
	struct pool *pool = pick_pool(in);
	struct block b;

	if (pool == NULL || pool->blocks.n == 0)
		return;
	b = blocks_take(&pool->blocks, input_byte(in) % pool->blocks.n, "before vmem_free");
	errno = KEPT;
	vmem_free(pool->vmp, b.p);
	vmem_free(pool->vmp, NULL);
	REQUIRE(errno == KEPT, "errno %d", errno);
}

static void *
in_thread(void *arg)
{
	struct input *in = arg;

	for (unsigned n = input_byte(in) % 32; n > 0; n--) {
		if (n % 2)
			op_allocate(in);
		else
			op_free(in);
	}
	return NULL;
}

/* V6: a child has the pools in private memory as its own; those in files are its parent's. */
static void
op_fork(struct input *in)
{
	pid_t child = fork();
	int status;

	REQUIRE(child >= 0, "fork: %s", strerror(errno));
	if (child == 0) {
		for (unsigned i = 0; i < npools; i++) {
			if (pools[i].spoiled || pools[i].in_file)
				continue;
			blocks_require(&pools[i].blocks, "in the child");
			REQUIRE(vmem_check(pools[i].vmp) == !overlaps_any(&pools[i]), "in the child: %s",
				vmem_errormsg());
		}
		for (unsigned i = 0; i < npools; i++) /* the parent's are not this child's to use */
			pools[i].spoiled = pools[i].spoiled || pools[i].in_file;
		for (unsigned n = input_byte(in) % 16; n > 0; n--)
			op_allocate(in);
		_exit(0);
	}
	REQUIRE(waitpid(child, &status, 0) == child && status == 0, "the child ended with %#x", status);
	input_byte(in);
}

/* What is of another pool, or of none, is told from a block. */
static void
op_usable(struct input *in)
{
	struct pool *a = pick_pool(in), *b = pick_pool(in);
	char here;

	if (a == NULL || b == NULL)
		return;
	REQUIRE(vmem_malloc_usable_size(a->vmp, NULL) == 0 && vmem_malloc_usable_size(a->vmp, &here) == 0, "a size");
	if (a != b && b->blocks.n > 0)
		REQUIRE(vmem_malloc_usable_size(a->vmp, b->blocks.list[0].p) == 0, "a size");
}

static void
op_print(struct input *in)
{
	struct pool *pool = pick_pool(in);
	char opts[4];
	unsigned n = input_byte(in) % 4;

	for (unsigned i = 0; i < n; i++)
		opts[i] = "gmablx?"[input_byte(in) % 7];
	opts[n] = '\0';
	if (pool == NULL)
		return;
	printed = 0;
	vmem_stats_print(pool->vmp, n ? opts : NULL);
	REQUIRE(printed > 0, "nothing was printed with \"%s\"", opts);
}

static void
op_functions(struct input *in)
{
	unsigned how = input_byte(in) % 4;

	refuses = how == 3;
	vmem_set_funcs(how == 0 ? NULL : program_malloc, how < 2 ? NULL : program_free, NULL, NULL, program_print);
	if (how < 2)
		refuses = false;
	/* a pool made before may meet a function that refuses now */
	for (unsigned i = 0; i < npools; i++)
		pools[i].may_be_refused = true;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size, 0};

	if (arena == NULL)
		arena = mmap(NULL, ARENA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	REQUIRE(arena != MAP_FAILED, "no memory");
	memset(stale, 0, sizeof(stale));
	nstale = 0;
	refuses = false;
	vmem_set_funcs(NULL, NULL, NULL, NULL, program_print);
	REQUIRE(vmem_check_version(VMEM_MAJOR_VERSION, VMEM_MINOR_VERSION) == NULL, "this version");
	REQUIRE(vmem_check_version(VMEM_MAJOR_VERSION, VMEM_MINOR_VERSION + 1) != NULL, "a version to come");
	for (unsigned steps = 0; !input_ended(&in) && steps < 600; steps++) {
		unsigned op = input_byte(&in);

		if (op < 16 || npools == 0)
			op_create_in_region(&in);
		else if (op < 18)
			op_create_in_file(&in);
		else if (op < 26)
			delete_pool(input_byte(&in) % npools);
		else if (op < 40)
			op_stale(&in);
		else if (op < 48)
			op_check(&in);
		else if (op < 52)
			op_usable(&in);
		else if (op < 54)
			op_print(&in);
		else if (op < 58)
			op_functions(&in);
		else if (op < 59)
			op_fork(&in);
		else if (op < 60)
			run_in_thread(in_thread, &in);
		else if (op < 150)
			op_allocate(&in);
		else if (op < 200)
			op_realloc(&in);
		else
			op_free(&in);
	}
	while (npools > 0)
		delete_pool(npools - 1);
	REQUIRE(outstanding == 0, "%d records of the program's malloc function were kept", outstanding);
	REQUIRE(madvise(arena, ARENA, MADV_DONTNEED) == 0, "madvise");
	return 0;
}
