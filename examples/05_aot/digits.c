/* Trains the digit classifier of generator.cpp and tests it: a C program of its own, which links
   the two compiled functions and nothing of Kroton.
     aot [DIR]      DIR holds the MNIST files, unpacked */
#include <math.h>
#include <stdio.h>

#include "mnist_files.h"
#include "predict.h"
#include "program.h"
#include "train_step.h"

enum { batch = 128, epochs = 10 };

int main(int argc, char** argv) {
  const char* directory = argc > 1 ? argv[1] : KROTON_EXAMPLE_DIGITS;
  const digits train = read_digits(directory, "train");
  const digits test = read_digits(directory, "t10k");

  train_step_state state;
  check(train_step_state_place(&state, aligned(TRAIN_STEP_STATE_BYTES)), train_step_error);
  fill_uniform(state.w1, 784 * 512, sqrtf(6.0f / (784 + 512)));
  fill_uniform(state.w2, 512 * 10, sqrtf(6.0f / (512 + 10)));
  for (int k = 0; k < 512; ++k) state.b1[k] = 0;
  for (int k = 0; k < 10; ++k) state.b2[k] = 0;

  const size_t arena_bytes = train_step_arena_bytes(batch);
  void* arena = aligned(arena_bytes);
  float* images = aligned(sizeof(float) * batch * 784);
  int64_t labels[batch];
  const double start = seconds();
  for (int epoch = 1; epoch <= epochs; ++epoch) {
    const float rate = 0.5f * (float)(epochs + 1 - epoch) / epochs;
    double sum = 0;
    for (int64_t first = 0; first < train.count; first += batch) {
      const int64_t count = train.count - first < batch ? train.count - first : batch;
      for (int64_t k = 0; k < count; ++k) {
        copy_digit(&train, random_below(train.count), &images[784 * k], &labels[k]);
      }
      float loss;
      check(train_step(count, images, labels, rate, &state, &loss, arena, arena_bytes),
            train_step_error);
      sum += loss * (double)count;
    }
    printf("epoch %2d/%d loss %.4f %8.0f images/s\n", epoch, epochs, sum / (double)train.count,
           (double)(epoch * train.count) / (seconds() - start));
  }

  const predict_state weights = {.w1 = state.w1, .b1 = state.b1, .w2 = state.w2, .b2 = state.b2};
  const size_t predict_bytes = predict_arena_bytes(1);
  void* predict_arena = aligned(predict_bytes);
  int64_t right = 0;
  for (int64_t k = 0; k < test.count; ++k) {
    int64_t digit;
    copy_digit(&test, k, images, labels);
    check(predict(1, images, &weights, &digit, predict_arena, predict_bytes), predict_error);
    right += digit == labels[0];
  }
  printf("test accuracy %.2f %%\n", 100 * (double)right / (double)test.count);
  print_program_size();
  return 0;
}
