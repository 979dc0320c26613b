"""Faults to survive: kill, fail, cut the power, flip bits, and look at what is left.

Each harness is a library for the tests beside it and a command of its own:
`python -m tests.faults.crashpoints --help`, likewise `powercut` and `bitflip`.

How such a test lies, and the guard against each way:

- The fault never happened: an injection that did not hit a call on the tree is a
  miss, and a miss is never a pass.
- Nothing was tried: an empty campaign is an error, not "0 failures".
- A repair hides the damage: the state is inspected right after the fault, by a
  reader that changes nothing, before anything is run that may recover.
- The model is wrong: `powercut` gives no verdict when its picture of the tree
  differs from what the real run left behind.
- The traced program is a shell shim: then the shim would be faulted instead, so
  it is refused.
"""
