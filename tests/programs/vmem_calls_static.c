/* vmem_calls_static.c -- tests/programs/vmem_calls.c, for linking with libvmem.a */
#include "tests/programs/vmem_calls.c"
