A = ["p"]
x = A + ["q" "r"] + ["u: " + p for p in A] # remark