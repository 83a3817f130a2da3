/* Trains the network of generator.cpp, several times, and tests it each time: a C program of its
   own, which links the two compiled functions and nothing of Kroton.
     mnist_keras_aot [DIR [REPEATS]]      DIR holds the MNIST files, unpacked */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "keras_predict.h"
#include "keras_train_step.h"
#include "mnist_files.h"
#include "program.h"

enum { batch = 128, epochs = 5 };

static void shuffle(int64_t* order, int64_t count) {
  for (int64_t k = count - 1; k > 0; --k) {
    const int64_t other = random_below(k + 1), index = order[k];
    order[k] = order[other];
    order[other] = index;
  }
}

/* Five epochs from new weights. */
static void fit(const digits* train, int64_t seed, keras_train_step_state* state, void* memory) {
  memset(memory, 0, KERAS_TRAIN_STEP_STATE_BYTES); /* biases and the optimizer start from 0 */
  check(keras_train_step_state_place(state, memory), keras_train_step_error);
  state->layers[0] = seed; /* of dropout */
  fill_uniform(state->hidden_weight, 784 * 128, sqrtf(6.0f / (784 + 128)));
  fill_uniform(state->output_weight, 128 * 10, sqrtf(6.0f / (128 + 10)));

  const size_t arena_bytes = keras_train_step_arena_bytes(batch);
  void* arena = aligned(arena_bytes);
  float* images = aligned(sizeof(float) * batch * 784);
  int64_t labels[batch];
  int64_t* order = aligned(sizeof(int64_t) * (size_t)train->count);
  for (int64_t k = 0; k < train->count; ++k) order[k] = k;
  for (int epoch = 0; epoch < epochs; ++epoch) {
    shuffle(order, train->count);
    for (int64_t first = 0; first < train->count; first += batch) {
      const int64_t count = train->count - first < batch ? train->count - first : batch;
      for (int64_t k = 0; k < count; ++k) {
        copy_digit(train, order[first + k], &images[784 * k], &labels[k]);
      }
      float loss;
      check(keras_train_step(count, images, labels, state, &loss, arena, arena_bytes),
            keras_train_step_error);
    }
  }
  free(order);
  free(images);
  free(arena);
}

/* The part of the digits that are told right, in percent. */
static double accuracy(const digits* test, const keras_train_step_state* trained) {
  const keras_predict_state weights = {.hidden_weight = trained->hidden_weight,
                                       .hidden_bias = trained->hidden_bias,
                                       .output_weight = trained->output_weight,
                                       .output_bias = trained->output_bias};
  const size_t arena_bytes = keras_predict_arena_bytes(1);
  void* arena = aligned(arena_bytes);
  int64_t right = 0;
  for (int64_t k = 0; k < test->count; ++k) {
    float image[784];
    int64_t label, digit;
    copy_digit(test, k, image, &label);
    check(keras_predict(1, image, &weights, &digit, arena, arena_bytes), keras_predict_error);
    right += digit == label;
  }
  free(arena);
  return 100 * (double)right / (double)test->count;
}

int main(int argc, char** argv) {
  const char* directory = argc > 1 ? argv[1] : KROTON_EXAMPLE_DIGITS;
  const int repeats = argc > 2 ? atoi(argv[2]) : 1;
  if (repeats < 1 || argc > 3) {
    fprintf(stderr, "usage: mnist_keras_aot [DIR [REPEATS]]\n");
    return 1;
  }
  const digits train = read_digits(directory, "train");
  const digits test = read_digits(directory, "t10k");

  keras_train_step_state state;
  void* memory = aligned(KERAS_TRAIN_STEP_STATE_BYTES);
  double least = INFINITY, most = 0, total = 0;
  for (int repeat = 1; repeat <= repeats; ++repeat) {
    const double start = seconds();
    fit(&train, repeat, &state, memory);
    const double taken = seconds() - start;
    least = taken < least ? taken : least;
    most = taken > most ? taken : most;
    total += taken;
    printf("training %2d: %.2f s, test accuracy %.2f %%\n", repeat, taken, accuracy(&test, &state));
  }
  printf("minimum %.2f, maximum %.2f, mean %.2f, total %.2f s\n", least, most, total / repeats,
         total);
  print_program_size();
  return 0;
}
