/* What a program that trains needs beside the training step. */
#ifndef PROGRAM_H
#define PROGRAM_H

#include <stddef.h>
#include <stdint.h>

double seconds(void); /* since some moment */

/* A number below `bound`; the same ones in every run. */
int64_t random_below(int64_t bound);
/* `count` numbers between -limit and limit. */
void fill_uniform(float* w, int64_t count, float limit);

/* Memory that begins at a multiple of 64 bytes. The program ends if there is none. */
void* aligned(size_t bytes);

/* Prints the message of an error of a compiled function and ends the program; 0 is none. */
void check(int code, const char* (*message)(int));

void print_program_size(void);

#endif
