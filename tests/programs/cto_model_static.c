/* cto_model_static.c -- tests/programs/cto_model.c with libpmemcto.a: another program, the library's code elsewhere */
#include "tests/programs/cto_model.c"
