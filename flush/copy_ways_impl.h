/* copy_ways_impl.h -- which way a call goes, and the tables; included behind copy_bytes_impl.h by the file of each width
 *
 * A way is a function for one kind of write-back: through the cache (mov) or past it (nt), with the drain or without.
 * The six functions of a table take one by flags, length and alignment.
 *
 * Rules:  C4  stores past the cache end in a fence where the drain has none of its own or may be left out by the caller
 *             (kinds EMPTY and CLFLUSH); everywhere else fences are the drain's.
 *         C5  the usual ways call nothing, end in jumps and keep to few registers: each return address and each saved
 *             register on the stack is one more store in the queue behind a store that waits for its line.
 * Media:  none of its own.
 * Fails:  never.
 */
#define STR_(x) #x
#define STR(x) STR_(x)
#define RARELY(x) __builtin_expect(x, 0)

#if defined(HAVE_NT) && WIDTH < 64 && !defined(NO_WC_BARRIER)
#define WC_BARRIER copy_settings.wc_barrier
#define WC_TRACE (copy_settings.wc_barrier ? "_wcbarrier" : "_nobarrier")
#else
#define WC_BARRIER false
#define WC_TRACE ""
#endif

#ifdef HAVE_NT
#define CAN_NT true
#else
#define CAN_NT false
#endif

#ifdef PMHEAP_DEBUG
#define TRACE_MOV(op, name, d, s, n) copy_trace(__FILE__, __LINE__, op "_mov_" STR(ENGINE) "_", name, "", d, s, n)
#define TRACE_NT(op, name, d, s, n)                                                                                    \
	copy_trace(__FILE__, __LINE__, op "_movnt_" STR(ENGINE) "_", name, WC_TRACE, d, s, n)
#else
#define TRACE_MOV(op, name, d, s, n) ((void)0)
#define TRACE_NT(op, name, d, s, n) ((void)0)
#endif

#if defined(__x86_64__)
#define STRONG(kind) ((kind) == LINE_CLFLUSH)
#else
#define STRONG(kind) ((void)(kind), false)
#endif

/* --- ways ------------------------------------------------------------------------------------------------------- */

ALWAYS_INLINE TARGET void
FN(flush_lines)(const char *d, size_t n, enum line_kind kind)
{
	size_t lines = n == 0 ? 0 : (((uintptr_t)d & (LINE - 1)) + n - 1) / LINE + 1;

	d = (const char *)((uintptr_t)d & -(uintptr_t)LINE);
	for (; lines > 0; lines--, d += LINE)
		ENGINE_FLUSH(d, kind);
}

ALWAYS_INLINE TARGET void
FN(drain)(enum line_kind kind)
{
	if (!STRONG(kind) || copy_settings.clflush_unordered)
		ENGINE_FENCE();
}

/* C4 */
ALWAYS_INLINE TARGET void
FN(fence_nt)(enum line_kind kind)
{
	if (kind == LINE_EMPTY || STRONG(kind))
		ENGINE_FENCE();
}

/* The ways out of line, for one kind; `then` is what follows, so that a call of one is always a jump. What is rare has
 * a function of its own, so that the usual way keeps all in registers. A copy onto itself stores nothing: the bytes may
 * be another thread's to change. */
#define THEN_DRAIN(kind) FN(drain)(kind)
#define THEN_NOTHING(kind) ((void)0)

#define COPY_WAYS(name, kind, then)                                                                                    \
	NOINLINE TARGET void *FN(copy_mov_down_##name)(char *d, const char *s, size_t n)                               \
	{                                                                                                              \
		if (d == s)                                                                                            \
			FN(flush_lines)(d, n, kind);                                                                   \
		else                                                                                                   \
			FN(copy_down)(d, s, n, kind, false, false);                                                    \
		then(kind);                                                                                            \
		return d;                                                                                              \
	}                                                                                                              \
	NOINLINE TARGET void *FN(copy_mov_##name)(char *d, const char *s, size_t n)                                    \
	{                                                                                                              \
		if (RARELY((uintptr_t)d - (uintptr_t)s < n))                                                           \
			return FN(copy_mov_down_##name)(d, s, n);                                                      \
		if (n > LINE)                                                                                          \
			FN(copy_up)(d, s, n, kind, false, false);                                                      \
		else if (n != 0)                                                                                       \
			FN(copy_piece)(d, s, n, kind, false, true, false);                                             \
		then(kind);                                                                                            \
		return d;                                                                                              \
	}                                                                                                              \
	NOINLINE TARGET void *FN(set_mov_##name)(char *d, uint64_t v, size_t n)                                        \
	{                                                                                                              \
		if (n > LINE)                                                                                          \
			FN(set_up)(d, v, n, kind, false, false);                                                       \
		else if (n != 0)                                                                                       \
			FN(set_piece)(d, v, n, kind, false, false);                                                    \
		then(kind);                                                                                            \
		return d;                                                                                              \
	}

#ifdef HAVE_NT
#define NT_WAYS(name, kind, then)                                                                                      \
	NOINLINE TARGET void *FN(copy_nt_rare_##name)(char *d, const char *s, size_t n)                                \
	{                                                                                                              \
		if (d == s)                                                                                            \
			FN(flush_lines)(d, n, kind);                                                                   \
		else if ((uintptr_t)d - (uintptr_t)s < n)                                                              \
			FN(copy_down)(d, s, n, kind, true, WC_BARRIER);                                                \
		else                                                                                                   \
			FN(copy_up)(d, s, n, kind, true, true);                                                        \
		FN(fence_nt)(kind);                                                                                    \
		then(kind);                                                                                            \
		return d;                                                                                              \
	}                                                                                                              \
	NOINLINE TARGET void *FN(copy_nt_##name)(char *d, const char *s, size_t n)                                     \
	{                                                                                                              \
		if (RARELY((uintptr_t)d - (uintptr_t)s < n || WC_BARRIER))                                             \
			return FN(copy_nt_rare_##name)(d, s, n);                                                       \
		FN(copy_up)(d, s, n, kind, true, false);                                                               \
		FN(fence_nt)(kind);                                                                                    \
		then(kind);                                                                                            \
		return d;                                                                                              \
	}                                                                                                              \
	NOINLINE TARGET void *FN(set_nt_##name)(char *d, uint64_t v, size_t n)                                         \
	{                                                                                                              \
		if (RARELY(WC_BARRIER))                                                                                \
			FN(set_up)(d, v, n, kind, true, true);                                                         \
		else                                                                                                   \
			FN(set_up)(d, v, n, kind, true, false);                                                        \
		FN(fence_nt)(kind);                                                                                    \
		then(kind);                                                                                            \
		return d;                                                                                              \
	}
#define NT_WAY(way, name) FN(way##_nt_##name)
#else
#define NT_WAYS(name, kind, then)
#define NT_WAY(way, name) FN(way##_mov_##name)
#endif

typedef void *FN(copy_fn)(char *d, const char *s, size_t n);
typedef void *FN(set_fn)(char *d, uint64_t v, size_t n);

/* Without a flag: by length and alignment; never past the cache when the cache is persistent. Short pieces and whole lines
 * are done here: the call of a way would be noticed. */
ALWAYS_INLINE TARGET void *
FN(copy_default)(char *d, const char *s, size_t n, enum line_kind kind, bool drain, const char *trace,
		 FN(copy_fn) * mov, FN(copy_fn) * nt)
{
	bool words = (((uintptr_t)d | n) & 7) == 0;

	(void)trace;
	if (kind != LINE_EMPTY && CAN_NT &&
	    n >= (words ? copy_settings.nt_threshold : copy_settings.nt_odd_threshold)) {
		TRACE_NT("memmove", trace, d, s, n);
		if (!words || RARELY((uintptr_t)d - (uintptr_t)s < n))
			return nt(d, s, n);
#ifdef HAVE_NT
		if ((((uintptr_t)d | n) & (LINE - 1)) == 0 && !WC_BARRIER) {
			for (size_t i = 0; i != n; i += LINE) {
				nt_line(d + i, s + i);
				keep_order();
			}
		} else if (n <= LINE) {
			FN(copy_words_nt)(d, s, n, true);
		} else {
			return nt(d, s, n);
		}
#endif
		FN(fence_nt)(kind);
	} else {
		TRACE_MOV("memmove", trace, d, s, n);
		if (n > LINE || n == 0 || d == s)
			return mov(d, s, n);
		FN(copy_small)(d, s, n);
		FN(flush_small)(d, n, kind);
	}
	if (drain)
		FN(drain)(kind);
	return d;
}

ALWAYS_INLINE TARGET void *
FN(set_default)(char *d, uint64_t v, size_t n, enum line_kind kind, bool drain, const char *trace, FN(set_fn) * mov,
		FN(set_fn) * nt)
{
	bool words = (((uintptr_t)d | n) & 7) == 0;

	(void)trace;
	if (kind != LINE_EMPTY && CAN_NT &&
	    n >= (words ? copy_settings.nt_threshold : copy_settings.nt_odd_threshold)) {
		TRACE_NT("memset", trace, d, NULL, n);
		if (!words)
			return nt(d, v, n);
#ifdef HAVE_NT
		if ((((uintptr_t)d | n) & (LINE - 1)) == 0 && !WC_BARRIER) {
			for (size_t i = 0; i != n; i += LINE) {
				nt_set_line(d + i, v);
				keep_order();
			}
		} else if (n <= LINE) {
			FN(set_words_nt)(d, v, n);
		} else {
			return nt(d, v, n);
		}
#endif
		FN(fence_nt)(kind);
	} else {
		TRACE_MOV("memset", trace, d, NULL, n);
		if (n > LINE || n == 0)
			return mov(d, v, n);
		FN(set_small)(d, v, n);
		FN(flush_small)(d, n, kind);
	}
	if (drain)
		FN(drain)(kind);
	return d;
}

/* What the flags say, looked at in this order: NOFLUSH; WC or NONTEMPORAL; WB or TEMPORAL. With persistent caches only
 * NONTEMPORAL goes past them. 1: past the cache, 0: through it, -1: no flag says. */
ALWAYS_INLINE int
FN(way)(unsigned flags, enum line_kind kind)
{
	if ((flags & (kind == LINE_EMPTY ? FLUSH_NONTEMPORAL : FLUSH_NONTEMPORAL | FLUSH_WC)) != 0)
		return CAN_NT;
	if ((flags & (FLUSH_TEMPORAL | FLUSH_WB)) != 0)
		return 0;
	return -1;
}

#define SPREAD(c) ((unsigned char)(c)*UINT64_C(0x0101010101010101))

/* The six functions of a table row. <name>: a way that leaves the drain to the caller, <name>_drain: one that drains. */
#define ENTRIES(name, kind)                                                                                            \
	static TARGET void *FN(copy_persist_##name)(void *dest, const void *src, size_t len)                           \
	{                                                                                                              \
		return FN(copy_default)(dest, src, len, kind, true, #name, FN(copy_mov_##name##_drain),                \
					NT_WAY(copy, name##_drain));                                                   \
	}                                                                                                              \
	static TARGET void *FN(copy_nodrain_##name)(void *dest, const void *src, size_t len)                           \
	{                                                                                                              \
		return FN(copy_default)(dest, src, len, kind, false, #name, FN(copy_mov_##name), NT_WAY(copy, name));  \
	}                                                                                                              \
	static TARGET void *FN(set_persist_##name)(void *dest, int c, size_t len)                                      \
	{                                                                                                              \
		return FN(set_default)(dest, SPREAD(c), len, kind, true, #name, FN(set_mov_##name##_drain),            \
				       NT_WAY(set, name##_drain));                                                     \
	}                                                                                                              \
	static TARGET void *FN(set_nodrain_##name)(void *dest, int c, size_t len)                                      \
	{                                                                                                              \
		return FN(set_default)(dest, SPREAD(c), len, kind, false, #name, FN(set_mov_##name),                   \
				       NT_WAY(set, name));                                                             \
	}                                                                                                              \
	static TARGET void *FN(copy_##name)(void *dest, const void *src, size_t len, unsigned flags)                   \
	{                                                                                                              \
		bool nodrain = (flags & FLUSH_NODRAIN) != 0;                                                           \
		int way = FN(way)(flags, kind);                                                                        \
                                                                                                                       \
		if ((flags & FLUSH_NOFLUSH) != 0) {                                                                    \
			TRACE_MOV("memmove", "noflush", dest, src, len);                                               \
			return FN(copy_mov_empty)(dest, src, len);                                                     \
		}                                                                                                      \
		if (way < 0)                                                                                           \
			return (nodrain ? FN(copy_nodrain_##name) : FN(copy_persist_##name))(dest, src, len);          \
		if (way == 0) {                                                                                        \
			TRACE_MOV("memmove", #name, dest, src, len);                                                   \
			return (nodrain ? FN(copy_mov_##name) : FN(copy_mov_##name##_drain))(dest, src, len);          \
		}                                                                                                      \
		TRACE_NT("memmove", #name, dest, src, len);                                                            \
		return (nodrain ? NT_WAY(copy, name) : NT_WAY(copy, name##_drain))(dest, src, len);                    \
	}                                                                                                              \
	static TARGET void *FN(set_##name)(void *dest, int c, size_t len, unsigned flags)                              \
	{                                                                                                              \
		bool nodrain = (flags & FLUSH_NODRAIN) != 0;                                                           \
		int way = FN(way)(flags, kind);                                                                        \
		uint64_t v = SPREAD(c);                                                                                \
                                                                                                                       \
		if ((flags & FLUSH_NOFLUSH) != 0) {                                                                    \
			TRACE_MOV("memset", "noflush", dest, NULL, len);                                               \
			return FN(set_mov_empty)(dest, v, len);                                                        \
		}                                                                                                      \
		if (way < 0)                                                                                           \
			return (nodrain ? FN(set_nodrain_##name) : FN(set_persist_##name))(dest, c, len);              \
		if (way == 0) {                                                                                        \
			TRACE_MOV("memset", #name, dest, NULL, len);                                                   \
			return (nodrain ? FN(set_mov_##name) : FN(set_mov_##name##_drain))(dest, v, len);              \
		}                                                                                                      \
		TRACE_NT("memset", #name, dest, NULL, len);                                                            \
		return (nodrain ? NT_WAY(set, name) : NT_WAY(set, name##_drain))(dest, v, len);                        \
	}

/* Where the fence is nothing, or the flush slow, the draining ways call the others. */
#define DRAINING_WAYS(name, kind)                                                                                      \
	static TARGET void *FN(copy_mov_##name##_drain)(char *d, const char *s, size_t n)                              \
	{                                                                                                              \
		FN(copy_mov_##name)(d, s, n);                                                                          \
		FN(drain)(kind);                                                                                       \
		return d;                                                                                              \
	}                                                                                                              \
	static TARGET void *FN(set_mov_##name##_drain)(char *d, uint64_t v, size_t n)                                  \
	{                                                                                                              \
		FN(set_mov_##name)(d, v, n);                                                                           \
		FN(drain)(kind);                                                                                       \
		return d;                                                                                              \
	}                                                                                                              \
	NT_DRAINING_WAYS(name, kind)

#ifdef HAVE_NT
#define NT_DRAINING_WAYS(name, kind)                                                                                   \
	static TARGET void *FN(copy_nt_##name##_drain)(char *d, const char *s, size_t n)                               \
	{                                                                                                              \
		FN(copy_nt_##name)(d, s, n);                                                                           \
		FN(drain)(kind);                                                                                       \
		return d;                                                                                              \
	}                                                                                                              \
	static TARGET void *FN(set_nt_##name##_drain)(char *d, uint64_t v, size_t n)                                   \
	{                                                                                                              \
		FN(set_nt_##name)(d, v, n);                                                                            \
		FN(drain)(kind);                                                                                       \
		return d;                                                                                              \
	}
#else
#define NT_DRAINING_WAYS(name, kind)
#endif

#define SLOW_KIND(name, kind)                                                                                          \
	COPY_WAYS(name, kind, THEN_NOTHING)                                                                            \
	NT_WAYS(name, kind, THEN_NOTHING)                                                                              \
	DRAINING_WAYS(name, kind)                                                                                      \
	ENTRIES(name, kind)
/* The one kind of all new CPUs. */
#define KIND(name, kind)                                                                                               \
	COPY_WAYS(name, kind, THEN_NOTHING)                                                                            \
	COPY_WAYS(name##_drain, kind, THEN_DRAIN)                                                                      \
	NT_WAYS(name, kind, THEN_NOTHING)                                                                              \
	NT_WAYS(name##_drain, kind, THEN_DRAIN)                                                                        \
	ENTRIES(name, kind)
#define ROW(name)                                                                                                      \
	{                                                                                                              \
		FN(copy_persist_##name), FN(copy_nodrain_##name), FN(copy_##name), FN(set_persist_##name),             \
			FN(set_nodrain_##name), FN(set_##name),                                                        \
	}

SLOW_KIND(empty, LINE_EMPTY)
#if defined(__x86_64__)
SLOW_KIND(clflush, LINE_CLFLUSH)
SLOW_KIND(clflushopt, LINE_CLFLUSHOPT)
KIND(clwb, LINE_CLWB)

const struct copy_ops FN(copy)[LINE_KINDS] = {
	[LINE_EMPTY] = ROW(empty),
	[LINE_CLFLUSH] = ROW(clflush),
	[LINE_CLFLUSHOPT] = ROW(clflushopt),
	[LINE_CLWB] = ROW(clwb),
};
#else
SLOW_KIND(arch, LINE_ARCH)

const struct copy_ops FN(copy)[LINE_KINDS] = {
	[LINE_EMPTY] = ROW(empty),
	[LINE_ARCH] = ROW(arch),
};
#endif
