-- The tables of pgbench, cut down to what small transactions write: an account of about 100 bytes, a line of history.
create table accounts (aid int primary key, bid int not null, abalance int not null, filler char(84));
create table history (id bigint generated always as identity primary key, aid int not null, delta int not null,
  at timestamptz not null default clock_timestamp());
-- The last transaction of a load, and the beats of the lag probe.
create table marks (id int primary key, at timestamptz not null default clock_timestamp());

-- The load, without a round trip per transaction: `call small(…)` commits each of them.
create procedure small(transactions int, accounts int) language plpgsql as $$
declare
  -- in the statement itself random() would be asked anew for every row of the table
  one int;
begin
  for i in 1..transactions loop
    one := 1 + floor(random() * small.accounts);
    update accounts set abalance = abalance + i where aid = one;
    insert into history (aid, delta) values (one, i);
    commit;
  end loop;
end $$;
